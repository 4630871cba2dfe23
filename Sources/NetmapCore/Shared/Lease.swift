internal import CLinux
internal import Synchronization

// Several senders fill one receive ring by leases. A sender reserves slots with one compare-and-exchange on the
// ring's reservation word, fills them, and marks its lease as finished. It holds no lock meanwhile, so a sender
// that is preempted in the middle does not keep other senders from reserving and filling slots behind it. The
// receiver takes over finished leases in order.
//
// Before a sender tries to reserve, it announces the reservation in its own kring (``Intent``). The announcement
// lets the engine find the lease of a dead sender and finish it, without packets.

/// The leases of one receive ring, in the port's sync segment: one entry for each slot, used for the lease that
/// begins at that slot.
///
/// Every sender of the switch can write here. Slots passed to these functions must be below the ring's slot
/// count.
@unsafe
struct LeaseTable {
  static var entryByteCount: Int { 16 }

  private let base: UnsafeMutableRawPointer

  init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// The number of slots of the lease that a reservation describes; 0 until the lease is finished.
  ///
  /// At most 65535: the receiver, which takes the lease over, compares the number with the ring's slot count.
  @inline(__always)
  func finishedSlots(of lease: Reservation) -> UInt32 {
    let found = unsafe mark(lease.next).pointee.load(ordering: .acquiring)
    return found >> 16 == lease.sequence ? UInt32(truncatingIfNeeded: found & 0xffff) : 0
  }

  /// The sequence number of the last finished lease that began at a slot.
  func lastSequence(at slot: UInt32) -> UInt64 {
    unsafe mark(slot).pointee.load(ordering: .acquiring) >> 16
  }

  /// The contents of a finished lease, as its sender reported them: at most 65535 packets, and fewer than 2^48
  /// bytes.
  @inline(__always)
  func contents(at slot: UInt32) -> (packets: UInt64, bytes: UInt64) {
    let found = unsafe contentsWord(slot).pointee.load(ordering: .relaxed)
    return unsafe (found >> 48, found & SwitchView.addressMask)
  }

  /// Hands a filled lease to the receiver.
  ///
  /// Issues a full fence, because the sender must not read the receiver's wait word before the lease is visible.
  @inline(__always)
  func finish(_ lease: Lease, packets: UInt64, bytes: UInt64) {
    unsafe contentsWord(lease.start).pointee.store(packets << 48 | bytes, ordering: .relaxed)
    _ = unsafe mark(lease.start).pointee.exchange(lease.mark, ordering: .sequentiallyConsistent)
  }

  /// Makes the CPU fetch the entry of a slot for writing.
  @inline(__always)
  func fetch(_ slot: UInt32) {
    unsafe clinux_prefetch_to_write(mark(slot))
  }

  /// Sequence number in the upper 48 bits, slots in the lower 16.
  @inline(__always)
  private func mark(_ slot: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + Int(slot) &* Self.entryByteCount).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Packets in the upper 16 bits, bytes in the lower 48.
  @inline(__always)
  private func contentsWord(_ slot: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + Int(slot) &* Self.entryByteCount + 8)
      .assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}

/// The start slot and the sequence number of the next lease of a ring, in one word.
package struct Reservation: Hashable, Sendable {
  package let rawValue: UInt64

  @inline(__always)
  package init(_ rawValue: UInt64) {
    self.rawValue = rawValue
  }

  @inline(__always)
  package init(sequence: UInt64, next: UInt32) {
    rawValue = sequence << 16 | UInt64(next)
  }

  /// The number of the lease, 48 bits; the first lease of a ring is number 1.
  @inline(__always)
  package var sequence: UInt64 { rawValue >> 16 }

  /// The slot where the lease begins, at most 65535; the caller must compare it with the ring's slot count.
  @inline(__always)
  package var next: UInt32 { UInt32(truncatingIfNeeded: rawValue & 0xffff) }

  /// The number of the lease after this one; numbers wrap at 2^48.
  package var followingSequence: UInt64 {
    unsafe (sequence &+ 1) & SwitchView.addressMask
  }

  /// The reservation that follows a lease of `slots` slots, in a ring of `count` slots.
  @inline(__always)
  package func following(_ slots: UInt32, of count: UInt32) -> Reservation {
    let end = next &+ slots
    return unsafe Reservation(
      sequence: (sequence &+ 1) & SwitchView.addressMask, next: end >= count ? end &- count : end)
  }

  /// The first reservation of a ring that replaces a ring with this reservation; 0 stands for no former ring.
  var afresh: Reservation { Reservation(sequence: followingSequence, next: 0) }

  /// Whether `other` is the lease number `sequence` or a later one.
  ///
  /// Numbers wrap, so a distance of more than 2^47 counts as earlier.
  static func isReached(_ sequence: UInt64, by other: UInt64) -> Bool {
    unsafe (other &- sequence) & SwitchView.addressMask < 1 << 47
  }
}

/// Slots of a receive ring that a single sender fills.
struct Lease {
  let sequence: UInt64
  let start: UInt32
  let slots: UInt32

  /// The word that the receiver finds in the lease's entry once the lease is finished.
  @inline(__always)
  var mark: UInt64 { sequence << 16 | UInt64(slots) }
}

extension KRing {
  /// The reservation of the next lease of a receive ring.
  @inline(__always)
  package var reservation: Reservation {
    get {
      unsafe Reservation(
        rawAtomicLongWord(KRingLayout.reservation).pointee.load(ordering: .relaxed))
    }
    nonmutating set {
      unsafe rawAtomicLongWord(KRingLayout.reservation).pointee.store(
        newValue.rawValue, ordering: .relaxed)
    }
  }

  /// Loads the reservation; the announcement of the sender that stored it is visible afterwards.
  package func acquireReservation() -> Reservation {
    unsafe Reservation(
      rawAtomicLongWord(KRingLayout.reservation).pointee.load(ordering: .sequentiallyConsistent))
  }

  /// Reserves the slots between two reservations if no other sender has reserved slots since `known` was loaded.
  ///
  /// The sender must call ``announce(_:_:slots:room:stores:)`` first.
  ///
  /// - Returns: Whether this sender now holds the slots, and the reservation that the word held before.
  @inline(__always)
  package func reserve(
    from known: Reservation, upTo following: Reservation
  ) -> (isOurs: Bool, found: Reservation) {
    let (exchanged, original) =
      unsafe rawAtomicLongWord(KRingLayout.reservation).pointee.compareExchange(
        expected: known.rawValue, desired: following.rawValue, ordering: .sequentiallyConsistent)
    return (exchanged, Reservation(original))
  }

  /// Whether a binding has the receive ring open; senders check this.
  @inline(__always)
  var isOpen: Bool {
    unsafe rawAtomicWord(KRingLayout.isOpen).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  func setOpen(_ isOpen: Bool) {
    unsafe rawAtomicWord(KRingLayout.isOpen).pointee.store(
      isOpen ? 1 : 0, ordering: .sequentiallyConsistent)
  }
}

/// A receive ring on a switch, in one word: the port's generation and index, and the ring's number.
package struct LeaseTarget: Hashable, Sendable {
  let rawValue: UInt64

  init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - port: The port's index, 0 to 255.
  ///   - generation: The generation of the port, which tells successive ports with the same index apart.
  ///   - ring: The ring's number, 0 to 15.
  @inline(__always)
  package init(port: Int, generation: UInt32, ring: Int) {
    rawValue =
      UInt64(generation) | UInt64(truncatingIfNeeded: port) << 32
      | UInt64(truncatingIfNeeded: ring) << 48
  }

  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  var port: Int { Int(rawValue >> 32 & 0xffff) }
  var ring: Int { Int(rawValue >> 48) }
}

/// The last reservation that a sender announced, stored in the kring of the transmit ring it sends from.
///
/// Every process on the switch can write there. Slot numbers and slot counts in it are below 65536; a reader must
/// compare every field with the receive ring that it names before use.
struct Intent: Hashable {
  var target: LeaseTarget
  /// The start and the number of the lease.
  var reservation: Reservation
  /// At least 1.
  var slots: UInt32
}

extension KRingLayout {
  /// Number of slots of the intent in the lower half, 0 for no intent.
  ///
  /// The upper half holds the number of free slots after them that the sender knew of. At least as many stay free
  /// until another sender reserves some.
  fileprivate static var intentSlots: Int { intent }
  fileprivate static var intentTarget: Int { intent &+ 8 }
  fileprivate static var intentReservation: Int { intent &+ 16 }
}

extension KRing {
  /// Announces the reservation that this transmit ring's sender is about to make.
  ///
  /// The sender can be killed after each store. So it first withdraws the previous announcement, and stores the
  /// number of slots last: a reader that finds a nonzero number finds a complete intent.
  ///
  /// - Parameters:
  ///   - target: The receive ring.
  ///   - known: The reservation of that ring's next lease.
  ///   - slots: The number of slots wanted, at least 1.
  ///   - room: The number of slots after them that are certainly free.
  ///   - stores: The number of the four stores to perform; below 4 only in tests, to simulate a killed sender.
  @inline(__always)
  package func announce(
    _ target: LeaseTarget, _ known: Reservation, slots: UInt32, room: UInt32 = 0, stores: Int = 4
  ) {
    guard stores > 0 else { return }
    unsafe withdrawIntent()
    // No later store becomes visible before the withdrawal.
    atomicMemoryFence(ordering: .releasing)
    guard stores > 1 else { return }
    unsafe setRawLongWord(KRingLayout.intentTarget, target.rawValue)
    guard stores > 2 else { return }
    unsafe setRawLongWord(KRingLayout.intentReservation, known.rawValue)
    guard stores > 3 else { return }
    unsafe rawAtomicWord(KRingLayout.intentSlots).pointee.store(
      slots | room << 16, ordering: .releasing)
  }

  /// Withdraws the announcement: this transmit ring's sender is not about to reserve slots.
  ///
  /// A reader that sees the withdrawal also sees the sender's previous lease as finished.
  @inline(__always)
  func withdrawIntent() {
    unsafe rawAtomicWord(KRingLayout.intentSlots).pointee.store(0, ordering: .releasing)
  }

  /// The sender's announcement; nil when it is not about to reserve slots, or has not completed the announcement.
  var intent: Intent? {
    let slots =
      unsafe rawAtomicWord(KRingLayout.intentSlots).pointee.load(ordering: .acquiring) & 0xffff
    guard slots > 0 else { return nil }
    return unsafe Intent(
      target: LeaseTarget(rawValue: rawLongWord(KRingLayout.intentTarget)),
      reservation: Reservation(rawLongWord(KRingLayout.intentReservation)), slots: slots)
  }

  /// Slots of a receive ring that are certainly free, derived from this transmit ring's last lease.
  ///
  /// With this number the sender need not load the receiver's position, whose cache line the receiver writes
  /// often.
  ///
  /// - Parameters:
  ///   - known: The reservation of the receive ring's next lease.
  ///   - count: The ring's slot count.
  ///   - target: The receive ring.
  /// - Returns: 0 when the number is unknown; always below `count`.
  @inline(__always)
  func knownRoom(at known: Reservation, of count: UInt32, _ target: LeaseTarget) -> UInt32 {
    let slots = unsafe rawWord(KRingLayout.intentSlots)
    let last = unsafe Reservation(rawLongWord(KRingLayout.intentReservation))
    guard last.following(slots & 0xffff, of: count) == known,
      unsafe rawLongWord(KRingLayout.intentTarget) == target.rawValue, known.next < count
    else { return 0 }
    return min(slots >> 16, count &- 1)
  }
}

extension SyncSegment {
  /// Walks over the finished leases of a receive ring that the ring has not taken over, for a ring that no process syncs.
  ///
  /// - Parameters:
  ///   - index: The ring's number.
  ///   - slots: Its slot count.
  /// - Returns: The slot after these leases; nil when the ring has no leases.
  package func endOfFinishedLeases(ofRing index: Int, slots: UInt32) -> UInt32? {
    guard let kring = unsafe kring(end: 0, .receive, index), let base = unsafe leases(index),
      slots > 0, Int(slots) <= leaseSlots
    else { return nil }
    let table = unsafe LeaseTable(base: base)
    var next = unsafe kring.arriving
    // A ring has fewer leases than slots.
    for _ in 0..<slots where next.next < slots {
      let count = unsafe table.finishedSlots(of: next)
      guard count > 0, count < slots else { break }
      next = next.following(count, of: slots)
    }
    return min(next.next, slots - 1)
  }
}
