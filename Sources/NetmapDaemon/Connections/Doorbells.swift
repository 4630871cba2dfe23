internal import NetmapClient
internal import NetmapCore

/// A process's doorbell: what it is rung on, and what the process watches.
///
/// A pair of sockets (``BellSocket``), made here and not sent by the process. The daemon keeps the end that is
/// rung. Whoever is trusted gets that end of everybody's it shares rings with, on which nobody can receive:
/// nothing can be sent to it. A stranger's is with the daemon alone, and where the worker rings the stranger
/// the stranger rings the worker.
struct Doorbell {
  /// As the daemon and its worker ring it.
  let rung: CInt
  let owner: any AnyObject & Sendable
  /// The process's end, until it has been sent.
  let watched: OwnedFile

  /// - Parameters:
  ///   - role: What the process is.
  ///   - user: Who pays for what it costs to close what the process sends on it.
  ///   - closer: What closes it.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  init(for role: Role, of user: UInt32, _ closer: Closer) throws(NetmapError) {
    let (mine, theirs) = try BellSocket.pair()
    rung = mine
    watched = OwnedFile(theirs)
    guard role == .stranger else {
      BellSocket.refuseRings(on: mine)
      owner = OwnedFile(mine)
      return
    }
    owner = ForeignFile(mine, of: user, closer)
  }
}
