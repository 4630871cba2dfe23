internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The module hosts that the opener has started for its brokers, until they have ended.
///
/// Used on the opener's thread.
package final class OpenerHosts {
  private let address: DaemonAddress
  private let allowsModules: Bool

  /// A process that runs a module.
  private struct Host {
    let process: HostProcess
    /// When the opener gives the process up, monotonic nanoseconds; nil while it may continue.
    var deadline: UInt64?
    /// Whether the process has read the sealed request and become the user who sent it.
    var hasReported = false
    /// Whether the opener has told the process to leave its switch.
    var isDismissed = false
    /// Whether its broker has ended.
    var isOrphan = false
  }

  /// All module hosts, until they have ended.
  ///
  /// A host that hangs in the kernel keeps its place.
  private var hosts: [Int32: Host] = [:]

  /// How long a host may take to read its sealed request, nanoseconds.
  ///
  /// Longer than the broker waits for a module (``ModuleHost/startTime``). A host that starts slowly
  /// on a busy machine may use all of that time, and the broker, not this limit, ends a host that
  /// takes longer: the broker tells the user that the time was not enough. This limit ends hosts
  /// whose broker does not.
  private static let reportTime: UInt64 = ModuleHost.startTime + 5_000_000_000
  /// How long a host continues after its broker has ended, for ports that are still open, and how
  /// long it may take to leave its switch afterwards, nanoseconds.
  private static let orphanTime = (
    going: 600_000_000_000 as UInt64, leaving: 10_000_000_000 as UInt64
  )

  init(_ address: DaemonAddress, allowsModules: Bool) {
    self.address = address
    self.allowsModules = allowsModules
  }

  /// Descriptors that are readable when ``watch()`` has something to do.
  package var events: [CInt] {
    hosts.values.flatMap { host in
      [host.process.death.descriptor]
        + (host.hasReported ? [] : [host.process.report?.descriptor ?? -1])
    }
  }

  /// When ``watch()`` has something to do, monotonic nanoseconds; nil for never.
  package var deadline: UInt64? { hosts.values.compactMap(\.deadline).min() }

  /// Removes hosts that have ended, and dismisses or kills hosts whose deadline has passed.
  package func watch() {
    let now = monotonicNanoseconds()
    for (number, host) in hosts {
      if host.process.hasEnded {
        hosts[number] = nil
        continue
      }
      var host = host
      if !host.hasReported, let report = host.process.report,
        case let word = try? report.receive(waits: false), word != nil
      {
        // Any other content means that the host has hung up and is about to end.
        host.hasReported = true
        if word?.bytes == [1] { host.deadline = host.isOrphan ? host.deadline : nil }
      }
      if let deadline = host.deadline, now >= deadline {
        if host.isOrphan, host.hasReported, !host.isDismissed {
          try? host.process.report?.send([1], waits: false)
          host.isDismissed = true
          host.deadline = now + Self.orphanTime.leaving
        } else {
          host.process.end()
          host.deadline = nil
        }
      }
      hosts[number] = host
    }
  }

  /// Kills a host of the present broker, at the broker's request.
  ///
  /// - Parameter process: Any number. Hosts of former brokers carry packets of ports that are still
  ///   open, so a broker cannot end them.
  func end(_ process: Int32) {
    if let host = hosts[process], !host.isOrphan { host.process.end() }
    watch()
  }

  /// Sets a deadline for the hosts of a broker that has ended: they continue for ports that clients
  /// still have open, but not forever.
  func dismiss() {
    let end = monotonicNanoseconds() + Self.orphanTime.going
    for number in hosts.keys where hosts[number]?.isOrphan == false {
      hosts[number]?.isOrphan = true
      if hosts[number]?.hasReported == true { hosts[number]?.deadline = end }
    }
  }

  /// Starts a module host that reads a user's request from a socket.
  ///
  /// This process does not touch the socket.
  func start(
    _ file: ForeignFile?, for payer: UInt32
  ) throws(NetmapError) -> HostProcess {
    guard allowsModules else { throw HostProcess.turnedOff }
    // This check takes none of the socket's locks.
    guard let file, clinux_is_message_socket(file.descriptor) != 0 else {
      throw NetmapError(
        .invalidArgument, "load", "module", reason: "the request arrived without its seal",
        remedy: "use one version of netmap for all processes")
    }
    watch()
    try HostProcess.checkRoom(beside: hosts.values.map(\.process.user), for: payer, "module")
    let host = try HostProcess(sealed: file.descriptor, for: payer, address)
    hosts[host.process] = Host(
      process: host, deadline: monotonicNanoseconds() + Self.reportTime)
    return host
  }
}
