internal import Synchronization

/// The holder of a ring's lock: a client slot of the engine and the slot's epoch.
///
/// Never 0. The epoch distinguishes a dead client from the next client in the same slot, so the engine can tell
/// the lock of a dead client from a lock that a living client holds.
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

  /// The number of client slots, a power of two; a slot is below it.
  package static var slotCount: UInt32 { 1024 }

  /// The number of the client's doorbell.
  ///
  /// It differs from the numbers of all other living clients and from the number of the previous client in the
  /// slot.
  package var doorbell: UInt32 { (epoch & 0x1f_ffff) << 10 | UInt32(slot) & 0x3ff }
}

extension SyncSegment {
  /// Whether a ring is locked in the name of a client: the client is probably in the middle of a sync.
  ///
  /// Any process that has the segment mapped can write the lock.
  package func isLocked(by tag: ClientTag) -> Bool {
    (0..<endCount).contains { end in
      Direction.allCases.contains { direction in
        (0..<ringCount(end: end, direction)).contains { index in
          unsafe kring(end: end, direction, index)?.lockHolder == tag.rawValue
        }
      }
    }
  }

  /// Releases the locks that a dead client held.
  ///
  /// The caller must know that the client is dead.
  ///
  /// A sync publishes its result last and can be repeated, so releasing the lock is the only repair needed.
  ///
  /// - Returns: The number of released locks.
  package func releaseLocks(of tag: ClientTag) -> Int {
    var count = 0
    for end in 0..<endCount {
      for direction in Direction.allCases {
        for index in 0..<ringCount(end: end, direction) {
          guard let kring = unsafe kring(end: end, direction, index) else { continue }
          if unsafe kring.releaseLock(of: tag) { count += 1 }
        }
      }
    }
    return count
  }
}

extension KRing {
  /// Tries to lock the ring for one sync.
  ///
  /// netmap's `nr_busy`: a caller skips a ring that another thread is syncing, and never waits for it.
  ///
  /// A full fence: the engine removes a port from a switch and then waits for the holders of the locks that it
  /// finds taken. A sync that takes its lock later sees that the port is gone.
  ///
  /// - Returns: False when another thread holds the lock.
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

  /// The bit of the lock's word that says that monitors are on the ring. No tag has it.
  ///
  /// A sync of a ring without monitors takes the lock by exchanging 0 for its tag. So the bit makes it fail, and only
  /// then does it look for monitors: rings without monitors pay nothing.
  private static var monitored: UInt64 { 1 << 31 }

  /// Tries to lock a ring that has monitors, for one sync; see ``tryLock(_:)``.
  func tryLockMonitored(_ tag: ClientTag) -> Bool {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.compareExchange(
      expected: Self.monitored, desired: tag.rawValue | Self.monitored,
      ordering: .sequentiallyConsistent
    ).exchanged
  }

  /// Whether the lock of a ring without monitors names a client.
  func isLocked(by tag: ClientTag) -> Bool {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.load(ordering: .sequentiallyConsistent)
      == tag.rawValue
  }

  /// Whether the ring has monitors, and its lock names a client.
  func isLockedMonitored(by tag: ClientTag) -> Bool {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.load(ordering: .sequentiallyConsistent)
      == tag.rawValue | Self.monitored
  }

  /// Ends a sync that ``tryLockMonitored(_:)`` began. The ring keeps its monitors.
  func unlockMonitored() {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.store(Self.monitored, ordering: .releasing)
  }

  /// Tries to lock a ring, with monitors or without, for work that copies no packets to monitors.
  ///
  /// - Returns: What the word was, for ``unlock(leaving:)``; nil when another thread holds the lock.
  func tryLockEither(_ tag: ClientTag) -> UInt64? {
    if unsafe tryLock(tag) { return 0 }
    return unsafe tryLockMonitored(tag) ? Self.monitored : nil
  }

  /// Releases a lock that ``tryLockEither(_:)`` has taken.
  func unlock(leaving word: UInt64) {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.store(word, ordering: .releasing)
  }

  /// Sets or clears the bit that says that monitors are on the ring, unless the ring is locked.
  ///
  /// The holder of the lock stores the word without looking at it, so nobody may change it meanwhile.
  ///
  /// - Returns: Whether the bit is now as wanted.
  func setMonitored(_ isMonitored: Bool) -> Bool {
    let (_, found) = unsafe rawAtomicLongWord(KRingLayout.lock).pointee.compareExchange(
      expected: isMonitored ? 0 : Self.monitored, desired: isMonitored ? Self.monitored : 0,
      ordering: .sequentiallyConsistent)
    return unsafe found == 0 || found == Self.monitored
  }

  /// What the engine stores in the lock of those who fill a monitor's ring. No client has this tag.
  private static var engine: UInt64 { unsafe ~monitored }

  /// Tries to lock, for the engine, those who fill a monitor's ring without copies. Never a ring that processes sync.
  ///
  /// The engine keeps the lock for good to end their work, or releases it with ``unlock()``.
  ///
  /// - Returns: False when a process is filling the ring.
  func tryLockByEngine() -> Bool {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.compareExchange(
      expected: 0, desired: Self.engine, ordering: .sequentiallyConsistent
    ).exchanged
  }

  /// Releases the lock of a dead client, if the client has it.
  fileprivate func releaseLock(of tag: ClientTag) -> Bool {
    for bit in unsafe [0, Self.monitored] {
      let (released, _) = unsafe rawAtomicLongWord(KRingLayout.lock).pointee.compareExchange(
        expected: tag.rawValue | bit, desired: bit, ordering: .acquiringAndReleasing)
      if released { return true }
    }
    return false
  }

  /// The tag of the lock's holder; 0 when the lock is free.
  ///
  /// A reader that sees the lock released also sees the stores of the former holder. Sequentially consistent,
  /// like ``tryLock(_:)``; see ``SenderWatch``.
  package var lockHolder: UInt64 {
    unsafe rawAtomicLongWord(KRingLayout.lock).pointee.load(ordering: .sequentiallyConsistent)
      & ~Self.monitored
  }

  /// The number of syncs that have begun.
  ///
  /// A reader that sees a new sync also sees the stores of the previous one.
  package var syncCount: UInt64 {
    unsafe rawAtomicLongWord(Counter.syncs.offset).pointee.load(ordering: .acquiring)
  }
}
