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

  /// Drops a port that the C half could not attach, so that no later request is taken for one that has bound a token.
  static func dropUnattached() {
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

  /// Forgets the parent's state in a child of fork(2).
  ///
  /// Nothing of it is deinitialized: a mapping that the child does not have would be unmapped, and another one may be
  /// in its place.
  static func forgetEverything() {
    _ = unsafe Unmanaged.passRetained(Forgotten(connections.map(\.0), bound?.port))
    unsafe connections = []
    unsafe bound = nil
  }

  private final class Forgotten {
    let connections: [DaemonConnection]
    let port: PortInUse?

    init(_ connections: [DaemonConnection], _ port: PortInUse?) {
      self.connections = connections
      self.port = port
    }
  }
}
