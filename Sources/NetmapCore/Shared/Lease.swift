internal import CLinux
internal import Synchronization

// Several senders fill one receive ring by leases. A sender reserves slots by one compare-and-exchange
// on the ring's reservation word, fills them, and marks its lease as finished; no lock is held, so a
// sender that is preempted in the middle keeps nobody from reserving and filling behind it. The
// receiver takes over finished leases in order.
//
// A sender announces what it is about to reserve in its own kring before it tries (``Intent``), so
// that the lease of one that died can be found and finished for it, empty.

/// The leases of one receive ring, in the port's sync segment: one entry for each slot, used where a
/// lease begins.
///
/// Every sender of the switch can write here. Slots given to these functions must be below the ring's count.
@unsafe
struct LeaseTable {
  static var entryByteCount: Int { 16 }

  private let base: UnsafeMutableRawPointer

  init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// Slots of the lease that begins where a reservation says and has its number; 0 as long as that is not
  /// finished. At most 65535: whoever takes the lease over checks that the ring has so many.
  @inline(__always)
  func finishedSlots(of lease: Reservation) -> UInt32 {
    let found = unsafe mark(lease.next).pointee.load(ordering: .acquiring)
    return found >> 16 == lease.sequence ? UInt32(truncatingIfNeeded: found & 0xffff) : 0
  }

  /// The number of the last lease that began at a slot and was finished.
  func lastSequence(at slot: UInt32) -> UInt64 {
    unsafe mark(slot).pointee.load(ordering: .acquiring) >> 16
  }

  /// What a finished lease has, as its sender says: at most 65535 packets, and fewer bytes than 2^48.
  @inline(__always)
  func contents(at slot: UInt32) -> (packets: UInt64, bytes: UInt64) {
    let found = unsafe contentsWord(slot).pointee.load(ordering: .relaxed)
    return unsafe (found >> 48, found & BridgeView.addressMask)
  }

  /// Hands a filled lease to the receiver. With a full fence: the wait word must not be read before.
  @inline(__always)
  func finish(_ lease: Lease, packets: UInt64, bytes: UInt64) {
    unsafe contentsWord(lease.start).pointee.store(packets << 48 | bytes, ordering: .relaxed)
    _ = unsafe mark(lease.start).pointee.exchange(lease.mark, ordering: .sequentiallyConsistent)
  }

  /// Has the CPU fetch the entry of a slot, to be written.
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

/// Where the next lease of a ring begins, and its number: one word.
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

  /// Counts leases; the first one of a ring is number 1. 48 bits.
  @inline(__always)
  package var sequence: UInt64 { rawValue >> 16 }

  /// At most 65535: compare it with the slots of the ring.
  @inline(__always)
  package var next: UInt32 { UInt32(truncatingIfNeeded: rawValue & 0xffff) }

  /// The number of the lease behind this one. Numbers begin anew after 2^48.
  package var followingSequence: UInt64 {
    unsafe (sequence &+ 1) & BridgeView.addressMask
  }

  /// Where the lease after one of `slots` slots begins, in a ring of `count`.
  @inline(__always)
  package func following(_ slots: UInt32, of count: UInt32) -> Reservation {
    let end = next &+ slots
    return unsafe Reservation(
      sequence: (sequence &+ 1) & BridgeView.addressMask, next: end >= count ? end &- count : end)
  }

  /// The first lease of a ring that takes the place of one with this reservation: 0 of none.
  var afresh: Reservation { Reservation(sequence: followingSequence, next: 0) }

  /// Whether a lease's number is this one or a later one, as far as that can be told: numbers that are
  /// more than 2^47 apart are taken for earlier ones.
  static func isReached(_ sequence: UInt64, by other: UInt64) -> Bool {
    unsafe (other &- sequence) & BridgeView.addressMask < 1 << 47
  }
}

/// Slots of a receive ring that one sender fills.
struct Lease {
  let sequence: UInt64
  let start: UInt32
  let slots: UInt32

  /// What the receiver finds where the lease begins, once it is finished.
  @inline(__always)
  var mark: UInt64 { sequence << 16 | UInt64(slots) }
}

extension KRing {
  /// Where the next lease of a receive ring begins.
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

  /// The same, and with it whatever its sender had announced.
  package func acquireReservation() -> Reservation {
    unsafe Reservation(
      rawAtomicLongWord(KRingLayout.reservation).pointee.load(ordering: .sequentiallyConsistent))
  }

  /// Reserves the slots between two reservations, if nobody has reserved anything since the first one was
  /// loaded. After ``announce(_:_:slots:room:stores:)``.
  ///
  /// - Returns: Whether they are reserved, and what was found.
  @inline(__always)
  package func reserve(
    from known: Reservation, upTo following: Reservation
  ) -> (isOurs: Bool, found: Reservation) {
    let (exchanged, original) =
      unsafe rawAtomicLongWord(KRingLayout.reservation).pointee.compareExchange(
        expected: known.rawValue, desired: following.rawValue, ordering: .sequentiallyConsistent)
    return (exchanged, Reservation(original))
  }

  /// Whether somebody has the receive ring open, for senders.
  @inline(__always)
  var isOpen: Bool {
    unsafe rawAtomicWord(KRingLayout.isOpen).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  func setOpen(_ isOpen: Bool) {
    unsafe rawAtomicWord(KRingLayout.isOpen).pointee.store(
      isOpen ? 1 : 0, ordering: .sequentiallyConsistent)
  }
}

/// A receive ring on a switch, in one word: the generation of its port, the port, and the ring's number.
package struct LeaseTarget: Hashable, Sendable {
  let rawValue: UInt64

  init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - port: The port's index, 0 to 255.
  ///   - generation: Which incarnation of the port.
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

/// What a sender was about to reserve when it last did: in the kring of the transmit ring it sends from.
///
/// Every process on the switch can write there. Each field is below 65536, and means nothing before it has
/// been compared with the ring that it is about.
struct Intent: Hashable {
  var target: LeaseTarget
  /// Where the lease begins, and its number.
  var reservation: Reservation
  /// At least 1.
  var slots: UInt32
}

extension KRingLayout {
  /// Slots of the intent in the lower half, 0 where there is none; in the upper half how many were free behind
  /// them, as far as the sender knew: there are no fewer as long as nobody has reserved anything else.
  fileprivate static var intentSlots: Int { intent }
  fileprivate static var intentTarget: Int { intent &+ 8 }
  fileprivate static var intentReservation: Int { intent &+ 16 }
}

extension KRing {
  /// Writes down what this transmit ring's sender is about to reserve.
  ///
  /// The sender can be killed after each store. So what was announced before is withdrawn first, and the slots
  /// are stored last: who finds any has a whole intent.
  ///
  /// - Parameters:
  ///   - target: The receive ring.
  ///   - known: Where its next lease begins.
  ///   - slots: How many are wanted, at least 1.
  ///   - room: Slots that are free behind them for certain.
  ///   - stores: How many of the four stores are done; fewer only in tests, for a sender that is killed.
  @inline(__always)
  package func announce(
    _ target: LeaseTarget, _ known: Reservation, slots: UInt32, room: UInt32 = 0, stores: Int = 4
  ) {
    guard stores > 0 else { return }
    unsafe withdrawIntent()
    // No store below becomes visible before the one above.
    atomicMemoryFence(ordering: .releasing)
    guard stores > 1 else { return }
    unsafe setRawLongWord(KRingLayout.intentTarget, target.rawValue)
    guard stores > 2 else { return }
    unsafe setRawLongWord(KRingLayout.intentReservation, known.rawValue)
    guard stores > 3 else { return }
    unsafe rawAtomicWord(KRingLayout.intentSlots).pointee.store(
      slots | room << 16, ordering: .releasing)
  }

  /// Says that this transmit ring's sender is not about to reserve anything. Whoever sees that sees the lease
  /// that it had before as finished.
  @inline(__always)
  func withdrawIntent() {
    unsafe rawAtomicWord(KRingLayout.intentSlots).pointee.store(0, ordering: .releasing)
  }

  /// What the sender had announced; nil when it was not about to reserve anything, or was just writing it
  /// down.
  var intent: Intent? {
    let slots =
      unsafe rawAtomicWord(KRingLayout.intentSlots).pointee.load(ordering: .acquiring) & 0xffff
    guard slots > 0 else { return nil }
    return unsafe Intent(
      target: LeaseTarget(rawValue: rawLongWord(KRingLayout.intentTarget)),
      reservation: Reservation(rawLongWord(KRingLayout.intentReservation)), slots: slots)
  }

  /// Slots of a receive ring that are free for certain, from what this transmit ring's last lease left: it
  /// spares the look at how far the receiver is, which is on a line that the receiver writes all the time.
  ///
  /// - Parameters:
  ///   - known: Where the ring's next lease begins.
  ///   - count: Its slots.
  ///   - target: The ring.
  /// - Returns: 0 when that is unknown; below `count`.
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
