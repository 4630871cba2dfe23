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
@unsafe
struct LeaseTable {
  static var entryByteCount: Int { 16 }

  let base: UnsafeMutableRawPointer

  /// Sequence number in the upper 48 bits, slots in the lower 16.
  @inline(__always)
  func mark(_ slot: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + Int(slot) &* Self.entryByteCount).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Packets in the upper 16 bits, bytes in the lower 48.
  @inline(__always)
  func contents(_ slot: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + Int(slot) &* Self.entryByteCount + 8)
      .assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}

/// Where the next lease of a ring begins, and its number: one word.
struct Reservation {
  var rawValue: UInt64

  @inline(__always)
  init(_ rawValue: UInt64) {
    self.rawValue = rawValue
  }

  @inline(__always)
  init(sequence: UInt64, next: UInt32) {
    rawValue = sequence << 16 | UInt64(next)
  }

  /// Counts leases; the first one of a ring is number 1. 48 bits.
  @inline(__always)
  var sequence: UInt64 { rawValue >> 16 }

  @inline(__always)
  var next: UInt32 { UInt32(truncatingIfNeeded: rawValue & 0xffff) }

  /// Where the lease after one of `slots` slots begins, in a ring of `count`.
  @inline(__always)
  func following(_ slots: UInt32, of count: UInt32) -> Reservation {
    let end = next &+ slots
    return unsafe Reservation(
      sequence: (sequence &+ 1) & BridgeView.addressMask, next: end >= count ? end &- count : end)
  }

  /// The first lease of a ring that takes the place of one with this reservation: 0 of none.
  var afresh: Reservation {
    unsafe Reservation(sequence: (sequence &+ 1) & BridgeView.addressMask, next: 0)
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
  @inline(__always)
  var reservation: UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe atomicLongWord(KRingLayout.reservation)
  }

  /// Whether somebody has the receive ring open, for senders.
  @inline(__always)
  var isOpen: Bool {
    unsafe atomicWord(KRingLayout.isOpen).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  func setOpen(_ isOpen: Bool) {
    unsafe atomicWord(KRingLayout.isOpen).pointee.store(
      isOpen ? 1 : 0, ordering: .sequentiallyConsistent)
  }
}

/// What a sender was about to reserve when it last did: in the kring of the transmit ring it sends from.
struct Intent: Equatable {
  var port: UInt32 = 0
  var generation: UInt32 = 0
  var ring: UInt32 = 0
  var start: UInt32 = 0
  var slots: UInt32 = 0
  /// Slots that were free behind it, as far as the sender knows: there are no fewer as long as nobody has
  /// reserved anything else.
  var room: UInt32 = 0
  var sequence: UInt64 = 0
}

extension KRing {
  @inline(__always)
  func announce(
    _ port: UInt32, _ generation: UInt32, _ ring: UInt32, _ lease: Lease, room: UInt32 = 0
  ) {
    unsafe setWord(KRingLayout.intent, port)
    unsafe setWord(KRingLayout.intent + 4, generation)
    unsafe setWord(KRingLayout.intent + 8, ring)
    unsafe setWord(KRingLayout.intent + 12, lease.start)
    unsafe setWord(KRingLayout.intent + 16, lease.slots)
    unsafe setWord(KRingLayout.intent + 20, room)
    unsafe setLongWord(KRingLayout.intent + 24, lease.sequence)
  }

  @inline(__always)
  var intent: Intent {
    unsafe Intent(
      port: word(KRingLayout.intent), generation: word(KRingLayout.intent + 4),
      ring: word(KRingLayout.intent + 8), start: word(KRingLayout.intent + 12),
      slots: word(KRingLayout.intent + 16), room: word(KRingLayout.intent + 20),
      sequence: longWord(KRingLayout.intent + 24))
  }

  /// Slots of a receive ring that are free for certain, from what this transmit ring's last lease left: it
  /// spares the look at how far the receiver is, which is on a line that the receiver writes all the time.
  ///
  /// - Parameters:
  ///   - known: Where the ring's next lease begins.
  ///   - count: Its slots.
  ///   - port: The port's index.
  ///   - generation: Which incarnation of the port.
  ///   - ring: The ring's number.
  /// - Returns: 0 when that is unknown.
  @inline(__always)
  func knownRoom(
    at known: Reservation, of count: UInt32, _ port: UInt32, _ generation: UInt32, _ ring: UInt32
  ) -> UInt32 {
    let last = unsafe intent
    let reserved = Reservation(sequence: last.sequence, next: last.start)
    guard reserved.following(last.slots, of: count).rawValue == known.rawValue, last.port == port,
      last.generation == generation, last.ring == ring, known.next < count
    else { return 0 }
    return min(last.room, count &- 1)
  }

  /// Reserves slots and leaves it at that: what a sender that stops or dies has done. For tests.
  package func reserve(
    _ slots: UInt32, of receiver: KRing, port: UInt32, generation: UInt32, count: UInt32
  ) {
    let known = unsafe Reservation(receiver.reservation.pointee.load(ordering: .relaxed))
    let lease = Lease(sequence: known.sequence, start: known.next, slots: slots)
    unsafe announce(port, generation, receiver.word(KRingLayout.ringID), lease)
    unsafe receiver.reservation.pointee.store(
      known.following(slots, of: count).rawValue, ordering: .sequentiallyConsistent)
  }
}
