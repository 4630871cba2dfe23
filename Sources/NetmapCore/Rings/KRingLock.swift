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
}

extension KRing {
  /// Takes the ring for one sync, or says that somebody else has it.
  ///
  /// netmap's `nr_busy`: a ring that is being synced is skipped, never waited for.
  @inline(__always)
  package func tryLock(_ tag: ClientTag) -> Bool {
    unsafe atomicLongWord(KRingLayout.lock).pointee.compareExchange(
      expected: 0, desired: tag.rawValue, ordering: .acquiring
    ).exchanged
  }

  @inline(__always)
  package func unlock() {
    unsafe atomicLongWord(KRingLayout.lock).pointee.store(0, ordering: .releasing)
  }

  /// The tag of whoever holds the ring, 0 when nobody does.
  package var lockHolder: UInt64 {
    unsafe longWord(KRingLayout.lock)
  }
}
