internal import CLinux
internal import Glibc
package import NetmapClient
package import NetmapCore

/// A module host: a process that netmapd starts to run a module.
///
/// The process takes on the rights of the user who asked for the module, opens its port, and loads
/// the module.
package struct ModuleHostProcess {
  /// The source of a module host's order.
  package enum OrderSource {
    /// The order comes from netmapd.
    case told(HostedModule, user: UInt32, group: UInt32)
    /// The order is the user's own request, which lies in a socket.
    ///
    /// The other socket is for reporting that the process has read the request and become the user.
    /// The ``ModuleHostProcess`` takes ownership of both.
    case sealed(CInt, report: CInt)
  }

  /// An order: the module to run.
  package struct HostedModule {
    let vale: String
    let path: String
    let configuration: String
    let fallback: SwitchModuleChoice.Fallback

    package init(
      vale: String, path: String, configuration: String, fallback: SwitchModuleChoice.Fallback
    ) {
      self.vale = vale
      self.path = path
      self.configuration = configuration
      self.fallback = fallback
    }
  }

  private let channel: MessageSocket
  private let address: DaemonAddress
  private let source: OrderSource
  private let report: MessageSocket?

  /// How long a host that its switch no longer uses waits for late packets, nanoseconds.
  private static let drainTime: UInt64 = 200_000_000
  /// How often the host publishes the module's counters and checks the switch's ports, nanoseconds.
  private static let reportPause: UInt64 = 50_000_000
  /// How long a host continues without packets after its daemon has gone, nanoseconds.
  private static let orphanTime: UInt64 = 60_000_000_000
  /// The number of idle turns before the thread sleeps.
  private static let idleTurns = 200
  /// The largest size to which a user's module may grow any file, bytes.
  ///
  /// The log of modules is such a file.
  private static let fileSizeMax: rlim_t = 256 << 20

  /// - Parameters:
  ///   - channel: The socket on which netmapd's server gives the go-ahead and waits for the
  ///     outcome; this object takes ownership of it.
  ///   - address: The daemon's address.
  ///   - source: The source of the order.
  package init(channel: CInt, address: DaemonAddress, _ source: OrderSource) {
    self.channel = MessageSocket(owning: channel)
    self.address = address
    self.source = source
    if case .sealed(_, let report) = source {
      self.report = MessageSocket(owning: report)
    } else {
      report = nil
    }
  }

  /// Runs the module for as long as its switch uses it.
  ///
  /// - Throws: ``NetmapError`` when the module cannot be run. netmapd has got the error then.
  package func run() throws(NetmapError) {
    do throws(NetmapError) {
      let order = try begin()
      // Wait until netmapd has registered this process as a module host.
      guard let word = try channel.receive(waits: true), !word.bytes.isEmpty else { return }
      let connection = try DaemonConnection(address: address, starts: false)
      let opened = try connection.register(
        RegisterRequest(
          name: try PortName("\(order.vale):.module\(getpid())"), extensions: .moduleHost,
          hints: RingGeometryHints(transmitSlots: 64, receiveSlots: 4096)))
      let port = try opened.mapPort(connection)
      let sleeper = Sleeper(doorbells: connection.doorbells)
      let module = try LoadedModule(path: order.path, configuration: order.configuration)
      let forwarder = try HostedForwarder(port, module: module)
      try channel.send(Message.bytes(.done) { $0.put(module.name) })
      loop(forwarder, port, sleeper, order.fallback)
      withExtendedLifetime((connection, opened)) {}
    } catch {
      try? channel.send(Message.refusal(error))
      throw error
    }
  }

  /// Becomes the user who asked for the module, irrevocably.
  ///
  /// - Returns: The order.
  private func begin() throws(NetmapError) -> HostedModule {
    guard clinux_no_new_privileges() == 0 else { throw systemError("prctl", "module host") }
    switch source {
    case .told(let order, let user, let group):
      try giveUpRights(user, group)
      return order
    case .sealed(let file, _):
      // Any process with a copy of the socket can make every call on it hang. At worst that ends
      // this process: its parent kills it if it does not report in time.
      for own in [channel.descriptor, report?.descriptor ?? -1, file] {
        _ = fcntl(own, F_SETFD, FD_CLOEXEC)
      }
      let seal = try SealedRequest(receivedFrom: OwnedFile(file))
      try seal.checkSender()
      try giveUpRights(seal.user, seal.group)
      try report?.send([1], waits: false)
      // Parse the user's text only with the user's rights.
      return try seal.order()
    }
  }

  private func giveUpRights(_ user: UInt32, _ group: UInt32) throws(NetmapError) {
    guard geteuid() == 0, user != 0 else { return }
    var limit = rlimit(rlim_cur: Self.fileSizeMax, rlim_max: Self.fileSizeMax)
    signal(SIGXFSZ, SIG_IGN)
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
    // Take on the user's groups if the user has an entry in the user database, otherwise none.
    let name = unsafe getpwuid(user).map { unsafe String(cString: $0.pointee.pw_name) }
    let hasGroups =
      if let name { unsafe initgroups(name, group) == 0 } else {
        setgroups(0, nil) == 0
      }
    guard hasGroups, setgid(group) == 0, setuid(user) == 0 else {
      throw systemError("setuid", "module host")
    }
  }

  private func loop(
    _ forwarder: HostedForwarder, _ port: MappedPort, _ sleeper: Sleeper,
    _ fallback: SwitchModuleChoice.Fallback
  ) {
    var idle = 0
    var (lastMove, lastReport) = (monotonicNanoseconds(), UInt64(0))
    var hasBeenInUse = false
    var hasDaemon = true
    while true {
      idle = forwarder.turn() > 0 ? 0 : idle + 1
      if idle > 0 && idle < Self.idleTurns { continue }
      // Not reached on every turn, as reading the clock costs time.
      let now = monotonicNanoseconds()
      if idle == 0 { lastMove = now }
      if now - lastReport >= Self.reportPause {
        lastReport = now
        forwarder.notePorts()
        forwarder.report()
        if isToLeave { return forwarder.leave(fallback) }
      }
      if forwarder.isInUse {
        hasBeenInUse = true
      } else if hasBeenInUse, now - min(now, lastMove) >= Self.drainTime {
        return
      }
      if !hasDaemon, now - min(now, lastMove) >= Self.orphanTime {
        return forwarder.leave(fallback)
      }
      guard idle >= Self.idleTurns else { continue }
      hasDaemon = sleep(port, sleeper, watchesDaemon: hasDaemon)
    }
  }

  /// Whether the process that started this one has told it to leave its switch.
  private var isToLeave: Bool {
    guard let report, let word = try? report.receive(waits: false) else { return false }
    return !word.bytes.isEmpty
  }

  /// Sleeps until packets arrive, netmapd ends, or 100 ms have passed.
  ///
  /// - Returns: Whether netmapd is still running.
  private func sleep(_ port: MappedPort, _ sleeper: Sleeper, watchesDaemon: Bool) -> Bool {
    var items = [Sleeper.Item(port: port, wanted: .receive)]
    var descriptors =
      watchesDaemon
      ? [pollfd(fd: channel.descriptor, events: Int16(POLLIN), revents: 0)] : []
    do throws(NetmapError) {
      _ = try sleeper.wait(for: &items, and: &descriptors, timeout: 100_000_000)
    } catch {
      usleep(1000)
    }
    return watchesDaemon && descriptors.allSatisfy { $0.revents == 0 }
  }
}
