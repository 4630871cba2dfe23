internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// What this process keeps between control calls.
///
/// The C half makes one control call at a time, and has its lock across fork(2), so nothing here needs a lock.
enum HalfState {
  /// This process as a client of each daemon of which it has used a token, and the user that it then was.
  private nonisolated(unsafe) static var connections: [(DaemonConnection, user: uid_t)] = []

  /// The port to which a request has just bound a token, until the C half attaches it.
  nonisolated(unsafe) static var bound: (identity: TokenIdentity, port: PortInUse)?

  /// The loop that a request has just started, until the C half takes it.
  nonisolated(unsafe) static var started: LoopInUse?

  /// The ports that the C half has attached, which own themselves meanwhile.
  private nonisolated(unsafe) static var attached: [TokenIdentity: Unmanaged<PortInUse>] =
    unsafe [:]

  /// The control blocks of bindings in CSB mode, of which this process, or one that it descends from by fork(2), knows the
  /// addresses.
  nonisolated(unsafe) static var controlBlocks: [TokenIdentity: ProgramControlBlocks] = [:]

  /// Keeps an attached port, so that requests find it.
  static func attach(_ port: PortInUse, _ identity: TokenIdentity) {
    unsafe attached[identity] = Unmanaged.passUnretained(port)
  }

  /// Forgets a port that the C half releases.
  static func forget(_ port: PortInUse) {
    let place = unsafe Unmanaged.passUnretained(port).toOpaque()
    let found = unsafe attached.first { unsafe $0.value.toOpaque() == place }
    guard let identity = unsafe found?.key else { return }
    unsafe attached[identity] = nil
    unsafe controlBlocks[identity] = nil
  }

  /// The port that a token is bound to, as this process has it mapped. If it has not, maps it for the C half to attach.
  ///
  /// - Throws: As ``withToken(_:_:)``.
  static func port(of descriptor: CInt) throws(NetmapError) -> (TokenIdentity, PortInUse) {
    try withToken(descriptor) { (token, connection) throws(NetmapError) in
      let identity = try token.identity()
      if let port = unsafe attached[identity] {
        return (identity, unsafe port.takeUnretainedValue())
      }
      let port = try PortInUse(try connection.mapPort(token, viewEnd: .withToken), connection)
      unsafe bound = (identity, port)
      return (identity, port)
    }
  }

  /// Drops a port that the C half could not attach, so that no later request is taken for one that has bound a token; the
  /// same for a loop.
  static func dropUnattached() {
    unsafe started?.end()
    unsafe started = nil
    unsafe bound?.port.leave()
    unsafe bound = nil
  }

  /// Runs `body` with a copy of a token, and with this process as a client of the token's daemon.
  ///
  /// - Parameters:
  ///   - descriptor: The program's descriptor.
  ///   - body: Gets a copy, which is closed afterwards, so that the library never keeps a port open.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws; `EBADF` or `EINVAL` for another file; `ENXIO` instead of `EBADF`, as a request on a
  ///   token that is not bound is refused.
  static func withToken<R>(
    _ descriptor: CInt, _ body: (Token, DaemonConnection) throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    let token = Token(owning: try OwnedFile.duplicate(descriptor))
    defer { token.close() }
    do throws(NetmapError) {
      return try body(token, try connection(for: token))
    } catch {
      guard error.code == .badDescriptor else { throw error }
      throw NetmapError(
        .noSuchDevice, error.operation, error.subject, reason: error.reason, remedy: error.remedy)
    }
  }

  /// This process as a client of the token's daemon.
  private static func connection(for token: Token) throws(NetmapError) -> DaemonConnection {
    let address = try token.daemon()
    let user = geteuid()
    // A daemon knows a client by its process and its user.
    unsafe connections.removeAll { known, knownUser in
      !known.isUsable || known.hasEnded || knownUser != user
    }
    if let known = unsafe connections.first(where: { known, _ in known.address == address }) {
      return known.0
    }
    let made = try DaemonConnection(through: token)
    unsafe connections.append((made, user))
    return made
  }

  /// An unbound token, by which this process and its fork children can ask the daemon for others when they have no path
  /// to it; nil if the program has not asked for that (`NETMAP_LOAD=early`).
  private nonisolated(unsafe) static var reserve: Token?

  /// Connects to the daemon, which it starts if none runs, for opens that have no path to it.
  ///
  /// - Throws: ``NetmapError`` as ``Token/unbound(at:starts:)``.
  static func prepare() throws(NetmapError) {
    KeptNamespace.remember()
    let token = try Token.unbound()
    defer { token.close() }
    let kept = Token(private: try token.duplicate())
    unsafe reserve = kept
    _ = try connection(for: kept)
  }

  /// Opens a token that is not bound.
  ///
  /// - Throws: ``NetmapError`` when this user may not use the daemon, or when no daemon can be started.
  static func newToken() throws(NetmapError) -> Token {
    let isPrepared = unsafe reserve != nil
    if isPrepared, let token = try tokenByConnection() { return token }
    KeptNamespace.remember()
    do throws(NetmapError) {
      let token = try Token.unbound(starts: isPrepared || !hasConnection)
      // The daemon of the reserve has ended.
      if isPrepared { try? prepare() }
      return token
    } catch {
      // A process that has given up its path to the daemon after an earlier open still has a connection.
      guard !isPrepared, let token = try tokenByConnection() else { throw error }
      return token
    }
  }

  private static var hasConnection: Bool {
    let user = geteuid()
    return unsafe connections.contains { known, knownUser in
      known.isUsable && !known.hasEnded && knownUser == user
    }
  }

  /// Asks the daemon of the reserve, or one that this process uses already, for a token.
  ///
  /// - Returns: Nil when there is no such daemon.
  /// - Throws: The ``NetmapError`` that the daemon answers with.
  private static func tokenByConnection() throws(NetmapError) -> Token? {
    let user = geteuid()
    var known = unsafe connections.first { known, knownUser in
      known.isUsable && !known.hasEnded && knownUser == user
    }?.0
    do throws(NetmapError) {
      if let reserve = unsafe reserve {
        guard reserve.number != nil else { return nil }
        known = try connection(for: reserve)
      }
      return try known?.newToken()
    } catch {
      switch error.code.rawValue {
      case ECONNRESET, ECONNREFUSED, EPIPE, EBADF, ENOTCONN: return nil
      default: throw error
      }
    }
  }

  /// Gives up everything that uses a private descriptor, whose number the program takes.
  static func vacate(_ number: CInt) {
    dropUnattached()
    unsafe connections = []
    KeptNamespace.vacate(number)
    guard let kept = unsafe reserve, kept.number == number else { return }
    unsafe reserve = (try? kept.duplicate()).map { Token(private: $0) }
    kept.close()
  }

  /// Forgets the parent's state in a child of fork(2).
  ///
  /// Nothing of it is deinitialized: a mapping that the child does not have would be unmapped, and another one may be
  /// in its place.
  static func forgetEverything() {
    _ = unsafe Unmanaged.passRetained(Forgotten(connections.map(\.0), bound?.port, started))
    unsafe connections = []
    unsafe bound = nil
    unsafe started = nil
    unsafe attached = [:]
  }

  private final class Forgotten {
    let connections: [DaemonConnection]
    let port: PortInUse?
    let loop: LoopInUse?

    init(_ connections: [DaemonConnection], _ port: PortInUse?, _ loop: LoopInUse?) {
      self.connections = connections
      self.port = port
      self.loop = loop
    }
  }
}
