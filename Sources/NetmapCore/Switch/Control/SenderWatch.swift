/// The syncs that were sending at one moment, in any process, and whether all of them have ended.
///
/// The engine consults it before it reuses memory that senders may still write to. What a process
/// keeps mapped for its own syncs depends on its own ``SyncEpochs`` instead.
///
/// A sender holds the lock of its transmit ring from before it looks up a port until it has
/// finished with that port. A sender that held such a lock when the port was unlinked may therefore
/// still write to the port. A sender that takes a lock later sees that the port is gone.
///
/// Every process on the switch can write to locks and counters. If a process makes a held lock look
/// free, the engine reuses memory that the lock's holder still writes to; that process could
/// corrupt the same region directly. If a process makes a free lock look held, the lock counts only
/// while it names a living client that has that very port mapped (``SegmentUsers``). It then counts
/// only until that client syncs the ring (``MappedRing/begin()``) or closes the port.
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

  /// Notes the transmit syncs that are under way on the given ports.
  ///
  /// The caller must first unlink, by a sequentially consistent store, everything that later syncs
  /// must not find. The sender's store that takes a lock is sequentially consistent too, and so are
  /// the loads of locks here and the sender's loads of the unlinked data. In the single order of
  /// all of these, either this call sees the lock, or the sender sees that the port is gone.
  ///
  /// - Parameters:
  ///   - segments: The sync segments of the ports.
  ///   - clients: The living clients. A client that is not among them sends nothing, whatever a
  ///     lock says: the engine releases the locks of dead clients, but any process on the switch
  ///     can write to a lock that no client ever takes.
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

  /// Whether none of the noted syncs can be sending any more.
  ///
  /// Two threads must not call this at the same time.
  func haveGoneOn() -> Bool {
    unsafe pending.removeAll { pending in
      let isClient = clients.map { unsafe $0.hasClient(pending.holder) } ?? true
      return unsafe !isClient || pending.isOver
    }
    return unsafe pending.isEmpty
  }
}
