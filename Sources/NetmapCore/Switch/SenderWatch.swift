/// The syncs that were sending at one moment, and whether all of them are over.
///
/// A sender holds the lock of its transmit ring from before it looks for a port until it has finished
/// with it. So whoever held such a lock when a port had been unlinked may still be writing to it;
/// whoever takes one later has seen that the port is gone.
@safe
final class SenderWatch: Sendable {
  private nonisolated(unsafe) var pending: [Pending] = unsafe []

  @unsafe
  private struct Pending {
    /// Keeps the kring mapped.
    let segment: SyncSegment
    let kring: KRing
    let holder: UInt64
    let syncs: UInt64

    var isOver: Bool {
      unsafe kring.lockHolder != holder || kring.syncCount != syncs
    }
  }

  /// Notes who is in the middle of a transmit sync of one of these ports.
  ///
  /// Whatever they must not find any more has been unlinked by a sequentially consistent store. Theirs that
  /// takes a lock is one too, and so are the loads of locks here and of what was unlinked there: in the one
  /// order of all of these either the lock is seen here, or that the port is gone there.
  init(_ segments: [SyncSegment]) {
    for segment in segments {
      for index in 0..<segment.ringCount(end: 0, .transmit) {
        guard let kring = unsafe segment.kring(end: 0, .transmit, index) else { continue }
        let holder = unsafe kring.lockHolder
        guard holder != 0 else { continue }
        unsafe pending.append(
          Pending(
            segment: segment, kring: kring, holder: holder, syncs: kring.syncCount))
      }
    }
  }

  /// Whether none of them can be sending any more. Not for use from two threads at once.
  func haveGoneOn() -> Bool {
    unsafe pending.removeAll { unsafe $0.isOver }
    return unsafe pending.isEmpty
  }
}
