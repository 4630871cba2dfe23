internal import NetmapClient
internal import NetmapCore

/// A client's doorbell: the end on which others ring it, and the end that the client watches.
///
/// The daemon makes the pair of sockets (``BellSocket``) itself and keeps the end that is rung. A
/// trusted client gets that end of all clients with which it shares rings. No process can receive
/// on that end, so nothing can be sent to it. The end of an untrusted client stays with the daemon
/// alone: the worker and the client ring each other on their ends.
struct Doorbell {
  /// The end on which the daemon and its worker ring the client.
  let rung: CInt
  let owner: any AnyObject & Sendable
  /// The client's end, until it has been sent.
  let watched: OwnedFile

  /// - Parameters:
  ///   - role: The client's role.
  ///   - user: The user who pays for closing what the client sends on its end.
  ///   - closer: The closer for the daemon's end.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  init(for role: Role, of user: UInt32, _ closer: Closer) throws(NetmapError) {
    let (mine, theirs) = try BellSocket.pair()
    rung = mine
    watched = OwnedFile(theirs)
    guard role == .untrusted else {
      BellSocket.refuseRings(on: mine)
      owner = OwnedFile(mine)
      return
    }
    owner = ForeignFile(mine, of: user, closer)
  }
}
