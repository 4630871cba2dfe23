internal import Synchronization

/// Who is syncing: a client slot of the engine and that slot's epoch.
///
/// Never 0. The epoch tells a dead client from the next one that was given its slot, so that a lock
/// left behind by a crash can be told from one that is held.
package struct ClientTag: Hashable, Sendable {
  package let rawValue: UInt64

  /// - Parameters:
  ///   - slot: The client slot.
  ///   - epoch: 1 or more.
  package init(slot: UInt32, epoch: UInt32) {
    precondition(epoch > 0, "an epoch starts at 1")
    rawValue = UInt64(epoch) << 32 | UInt64(slot)
  }

  package var slot: Int { Int(rawValue & 0xffff_ffff) }
  package var epoch: UInt32 { UInt32(rawValue >> 32) }

  /// Slots are below this, a power of two.
  package static var slotCount: UInt32 { 1024 }

  /// The number of the client's doorbell: never that of another living client, and another one than
  /// that of the client that had the slot before.
  package var doorbell: UInt32 { (epoch & 0x1f_ffff) << 10 | UInt32(slot) & 0x3ff }
}

extension SyncSegment {
  /// Releases the locks that a client left behind: it must be known to be dead.
  ///
  /// Every sync publishes last and can be done again, so releasing is all the repair there is.
  ///
  /// - Returns: How many there were.
  package func releaseLocks(of tag: ClientTag) -> Int {
    var count = 0
    for end in 0..<endCount {
      for direction in Direction.allCases {
        for index in 0..<ringCount(end: end, direction) {
          guard let kring = unsafe kring(end: end, direction, index) else { continue }
          let (released, _) = unsafe kring.rawAtomicLongWord(KRingLayout.lock).pointee
            .compareExchange(
              expected: tag.rawValue, desired: 0, ordering: .acquiringAndReleasing)
          if released { count += 1 }
        }
      }
    }
    return count
  }
}

extension KRing {
  /// Takes the ring for one sync, or says that somebody else has it.
  ///
  /// netmap's `nr_busy`: a ring that is being synced is skipped, never waited for.
  ///
  /// A full fence: whoever takes a port off a switch waits for the locks that it finds held, and a sync
  /// that takes its lock later sees that the port has gone.
  @inline(__always)
  package func tryLock(_ tag: ClientTag) -> Bool {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.compareExchange(
      expected: 0, desired: tag.rawValue, ordering: .sequentiallyConsistent
    ).exchanged
  }

  @inline(__always)
  package func unlock() {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.store(0, ordering: .releasing)
  }

  /// The tag of whoever holds the ring, 0 when nobody does. Whoever sees that it has been released sees what
  /// its holder did. Sequentially consistent, as ``tryLock(_:)``: see ``SenderWatch``.
  package var lockHolder: UInt64 {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.load(ordering: .sequentiallyConsistent)
  }

  /// Syncs that have begun. Whoever sees that another one has begun sees what the one before did.
  var syncCount: UInt64 {
    unsafe rawAtomicLongWord(Counter.syncs.offset).pointee.load(ordering: .acquiring)
  }
}
