internal import Glibc
package import NetmapClient
package import NetmapCore
internal import Synchronization

/// The engine that all processes of the host (or of one user) share: their ports meet there.
///
/// The daemon netmapd(8) runs the engine. It starts on demand and exits when it is idle. Packets move through
/// shared memory between the processes themselves and continue to move after the daemon exits; only control
/// calls, such as opening a port, need the daemon.
///
/// Safe to use from any thread. After fork(2) the child makes a connection of its own at its first use.
public final class HostEngine: PortEngine {
  private let address: DaemonAddress?
  private let provider: DaemonBindings

  /// The engine at the default address: `$NETMAP_SOCKET` if set, else the host's, else the user's own.
  ///
  /// The first control call, such as opening a port, connects and starts a daemon if none runs.
  public static let shared = HostEngine(address: nil)

  /// An engine whose daemon already listens on `socket`; the engine never starts a daemon there.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for a path that is empty or too long for a socket (107 bytes).
  public convenience init(socket: String) throws(NetmapError) {
    self.init(address: try DaemonAddress(path: socket))
  }

  private init(address: DaemonAddress?) {
    self.address = address
    provider = DaemonBindings(address)
  }

  public var access: PortEngineAccess { PortEngineAccess(provider: provider) }

  /// Every port that is open on the engine, in any process.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` or `ECONNREFUSED` when no daemon is running.
  package func listing() throws(NetmapError) -> [PortListing] {
    try provider.listing()
  }

  /// Inconsistencies in the memory that ports share; see `Engine.check()` of NetmapCore.
  ///
  /// Checks up to three times and reports only the findings of every check: a check of ports in use can report
  /// passing states. Blocks for about 50 ms when the first check finds something.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` or `ECONNREFUSED` when no daemon is running.
  package func check() throws(NetmapError) -> DaemonCheck {
    var result = try provider.check()
    for _ in 0..<2 where !result.report.findings.isEmpty {
      usleep(20_000)
      var later = try provider.check()
      later.report = result.report.confirmed(by: later.report)
      result = later
    }
    return result
  }

  /// A dump of the memory that describes all ports, without packets; see ``EngineDump``.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` or `ECONNREFUSED` when no daemon is running.
  package func dump() throws(NetmapError) -> EngineDump {
    try EngineDump(try provider.dump())
  }

  /// A port that another process (or another program in this one) opened, from a copy of its token.
  ///
  /// The port stays open while any copy of its token is open, in any process. Both processes may use the rings;
  /// of concurrent syncs of a ring, one does the work.
  ///
  /// - Parameter descriptor: The copy. The call takes ownership.
  /// - Returns: The port.
  /// - Throws: ``NetmapError`` `EINVAL` or `ENOTSOCK` when the descriptor is not a token, `EBADF` when the
  ///   token is not bound to a port, `ECONNRESET` when its daemon has exited.
  package func port(token descriptor: CInt) throws(NetmapError) -> NetmapPort {
    let binding = try provider.mapPort(Token(owning: descriptor))
    return NetmapPort(
      binding: binding, provider: provider,
      specification: try PortSpecification.parse(
        "netmap:\(binding.registration.name.rawValue)", enabling: PortOption.standard))
  }
}

/// This process's connection to a daemon: made on demand, and again after the daemon has exited.
private final class DaemonBindings: BindingProvider {
  private let address: DaemonAddress?
  private let current = Mutex<DaemonConnection?>(nil)

  init(_ address: DaemonAddress?) {
    self.address = address
  }

  func open(_ request: RegisterRequest) throws(NetmapError) -> PortBinding {
    try withConnection { (connection) throws(NetmapError) in
      try bind(try connection.register(request), connection)
    }
  }

  private func bind(
    _ opened: Opened, _ connection: DaemonConnection
  ) throws(NetmapError) -> PortBinding {
    let (registration, token) = (opened.registration, opened.token)
    return PortBinding(
      registration, try opened.mapPort(connection), connection.doorbells, token: token,
      end: { keepsViews in
        if !keepsViews { connection.forget(registration) }
        token.close()
      }, forget: { connection.forget(registration) })
  }

  /// Uses a port that another process, or another program in this one, opened.
  func mapPort(_ token: Token) throws(NetmapError) -> PortBinding {
    let daemon = try token.daemon()
    if let known = current.withLock({ $0 }), known.isUsable, known.address == daemon {
      do throws(NetmapError) {
        return try bind(try known.mapPort(token), known)
      } catch {
        // The address may belong to another daemon by now.
        guard error.code == .badDescriptor else { throw error }
      }
    }
    let connection = try DaemonConnection(through: token)
    current.withLock { known in
      if known?.isUsable != true { known = connection }
    }
    return try bind(try connection.mapPort(token), connection)
  }

  func check() throws(NetmapError) -> DaemonCheck {
    try DaemonConnection(address: address, starts: false).check()
  }

  func dump() throws(NetmapError) -> [UInt8] {
    try DaemonConnection(address: address, starts: false).dump()
  }

  func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16 {
    try withConnection { (connection) throws(NetmapError) in
      try connection.portInfo(request).memoryID
    }
  }

  func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer {
    try withConnection { (connection) throws(NetmapError) in try connection.answer(request) }
  }

  func load(_ choice: SwitchModuleChoice, on vale: String) throws(NetmapError) -> SwitchAnswer {
    try answer(.module(vale, .choose(choice)))
  }

  func listing() throws(NetmapError) -> [PortListing] {
    try DaemonConnection(address: address, starts: false).listing()
  }

  /// Asks the daemon, and retries twice if it exits between the connection and the request.
  private func withConnection<R>(
    _ body: (DaemonConnection) throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    var patience = 3
    while true {
      do throws(NetmapError) {
        return try body(try connection())
      } catch {
        patience -= 1
        guard error.code.rawValue == ECONNRESET, patience > 0 else { throw error }
        current.withLock { $0 = nil }
      }
    }
  }

  private func connection() throws(NetmapError) -> DaemonConnection {
    if let known = current.withLock({ $0 }), known.isUsable { return known }
    let made = try DaemonConnection(address: address)
    return current.withLock { known in
      // Another thread may have connected first. All ports of one engine share one doorbell.
      if let known, known.isUsable { return known }
      known = made
      return made
    }
  }
}

/// The packets and bytes that a port has moved since its creation.
package struct PortTraffic: Hashable, Sendable {
  package let sent: PortListing.Traffic
  package let received: PortListing.Traffic

  /// The sums, each with its display name.
  package var fields: [(name: String, value: UInt64)] {
    [
      ("tx_packets", sent.packets), ("tx_bytes", sent.bytes), ("tx_drops", sent.drops),
      ("rx_packets", received.packets), ("rx_bytes", received.bytes),
      ("rx_drops", received.drops),
    ]
  }

  /// Drops by reason, broadcasts, and the copies that broadcasts made, each with its display name.
  package var details: [(name: String, value: UInt64)] {
    let drops = [("tx", sent), ("rx", received)].flatMap { direction, traffic in
      DropReason.allCases.map { reason in
        (name: "\(direction)_drop_\(reason.name)", value: traffic.reasons[reason])
      }
    }
    return [("tx_broadcasts", sent.broadcasts), ("tx_copies", sent.copies)] + drops
  }
}

extension HostEngine {
  /// The traffic of every open port, by the port's name.
  ///
  /// - Throws: As `listing()`.
  package func traffic() throws(NetmapError) -> [String: PortTraffic] {
    var result: [String: PortTraffic] = [:]
    for port in try listing() {
      result[port.name] = PortTraffic(sent: port.transmit, received: port.receive)
    }
    return result
  }
}
