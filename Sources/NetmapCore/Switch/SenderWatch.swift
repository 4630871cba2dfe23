/// The syncs that were sending at one moment, in whichever process, and whether all of them are over: for what the
/// engine gives out again. What a process keeps for itself hangs on its own ``SyncEpochs``.
///
/// A sender holds the lock of its transmit ring from before it looks for a port until it has finished
/// with it. So whoever held such a lock when a port had been unlinked may still be writing to it;
/// whoever takes one later has seen that the port is gone.
///
/// Every process on the switch can write to locks and counters. A lock that is made to look free lets the engine give
/// out again what its holder is writing to: a region that the writer could garble anyway. One that is made to look
/// taken counts as long as it is in the name of a living client that has that very port mapped
/// (``SegmentUsers``), and not longer than until that client syncs the ring (``AttachedRing/begin()``) or
/// lets go of the port.
@safe
final class SenderWatch: Sendable {
  private nonisolated(unsafe) var pending: [Pending] = unsafe []
  private let clients: Directory?

  @unsafe
  private struct Pending {
    /// Keeps the kring mapped.
    let segment: SyncSegment
    let kring: KRing
    let holder: UInt64
    let syncs: UInt64

    var isOver: Bool {
      unsafe kring.lockHolder != holder || kring.syncCount != syncs
        || !(segment.users?.contains(holder) ?? true)
    }
  }

  /// Notes who is in the middle of a transmit sync of one of these ports.
  ///
  /// Whatever they must not find any more has been unlinked by a sequentially consistent store. Theirs that
  /// takes a lock is one too, and so are the loads of locks here and of what was unlinked there: in the one
  /// order of all of these either the lock is seen here, or that the port is gone there.
  ///
  /// - Parameters:
  ///   - segments: Of the ports.
  ///   - clients: Who there is: who is not in it sends nothing any more, whatever a lock says. Locks of the dead
  ///     are released, but every process on a switch can write into a lock that nobody ever takes.
  init(_ segments: [SyncSegment], among clients: Directory? = nil) {
    self.clients = clients
    for segment in segments {
      for index in 0..<segment.ringCount(end: 0, .transmit) {
        guard let kring = unsafe segment.kring(end: 0, .transmit, index) else { continue }
        let holder = unsafe kring.lockHolder
        guard holder != 0, segment.users?.contains(holder) ?? true else { continue }
        unsafe pending.append(
          Pending(
            segment: segment, kring: kring, holder: holder, syncs: kring.syncCount))
      }
    }
  }

  /// Whether none of them can be sending any more. Not for use from two threads at once.
  func haveGoneOn() -> Bool {
    unsafe pending.removeAll { pending in
      let isClient = clients.map { unsafe $0.hasClient(pending.holder) } ?? true
      return unsafe !isClient || pending.isOver
    }
    return unsafe pending.isEmpty
  }
}
