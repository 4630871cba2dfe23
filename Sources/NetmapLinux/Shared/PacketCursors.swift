internal import CLinux
internal import Synchronization

// How far the rings of packet sockets have got. This is plain data in memory that every process on the port maps,
// guarded by the lock of the netmap ring. A process may be killed between any two stores. So one store changes the
// state, and everything derived from it can be derived again. Any of these processes may also write any word at any
// time. So each word is loaded once, and each number is compared with the limits of the ring before it is used.

/// How far the reader of a receive ring has got.
struct PacketReceivePlace {
  /// The block that the reader is in, or will read next.
  var block: UInt32 = 0
  /// Where the next frame begins in the block, bytes; meaningless while ``framesLeft`` is 0.
  var offset: UInt32 = 0
  /// Frames of the block that have not been taken yet; 0 while the block is still the kernel's.
  var framesLeft: UInt32 = 0
  /// Bytes of payload already taken of a frame that is delivered in segments; 0 for a new frame.
  var payloadTaken: UInt32 = 0
  /// Whether the kernel has dropped packets, or may have, since a sync last asked it.
  var statisticsDue: UInt32 = 0
  /// `hwtail` of the netmap ring at this place.
  var tail: UInt32 = 0
  /// The sequence number of the block that the reader hands back after it has stored this place.
  var finishedSequence: UInt64 = 0

  /// The most frames that fit a block, whatever number the block states.
  static var mostFrames: UInt32 {
    UInt32(PacketReceiveLayout.blockBytes / CLINUX_FRAME_HEADER)
  }
}

/// The words of a receive ring: two copies of its place, and which of the two is valid.
@unsafe
struct PacketReceiveCursor {
  let base: UnsafeMutableRawPointer

  private enum Offset {
    static var turn: Int { 0 }
    static var underWay: Int { 4 }
    static var checksum: Int { 8 }
    static var places: Int { 32 }
  }

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Word `index`, of four, of one of the two copies.
  @inline(__always)
  private func part(_ turn: UInt32, _ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + (Offset.places + Int(turn & 1) &* 32 + 8 * index))
      .assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The place of the reader; the initial place when the words name no block below `blockCount`.
  @inline(__always)
  func load(below blockCount: UInt32) -> PacketReceivePlace {
    let turn = unsafe word(Offset.turn).pointee.load(ordering: .relaxed)
    func part(_ index: Int) -> UInt64 {
      unsafe self.part(turn, index).pointee.load(ordering: .relaxed)
    }
    let (first, second, third) = (part(0), part(1), part(2))
    let block = UInt32(truncatingIfNeeded: first)
    guard block < blockCount else { return PacketReceivePlace() }
    return PacketReceivePlace(
      block: block, offset: UInt32(truncatingIfNeeded: first >> 32),
      framesLeft: min(UInt32(truncatingIfNeeded: second), PacketReceivePlace.mostFrames),
      payloadTaken: UInt32(truncatingIfNeeded: second >> 32),
      statisticsDue: UInt32(truncatingIfNeeded: third),
      tail: UInt32(truncatingIfNeeded: third >> 32), finishedSequence: part(3))
  }

  /// Replaces the place: writes the other copy, then makes it the valid one with a single store.
  @inline(__always)
  func store(_ place: PacketReceivePlace) {
    let next = unsafe word(Offset.turn).pointee.load(ordering: .relaxed) ^ 1
    func set(_ index: Int, _ low: UInt32, _ high: UInt32) {
      unsafe part(next, index).pointee.store(
        UInt64(high) << 32 | UInt64(low), ordering: .relaxed)
    }
    set(0, place.block, place.offset)
    set(1, place.framesLeft, place.payloadTaken)
    set(2, place.statisticsDue, place.tail)
    unsafe part(next, 3).pointee.store(place.finishedSequence, ordering: .relaxed)
    unsafe word(Offset.turn).pointee.store(next, ordering: .releasing)
    atomicMemoryFence(ordering: .releasing)
  }

  /// Whether a sync did not end.
  @inline(__always)
  var isUnderWay: Bool { unsafe word(Offset.underWay).pointee.load(ordering: .relaxed) != 0 }

  @inline(__always)
  func begin() {
    unsafe word(Offset.underWay).pointee.store(1, ordering: .relaxed)
    atomicMemoryFence(ordering: .acquiringAndReleasing)
  }

  @inline(__always)
  func end() {
    unsafe word(Offset.underWay).pointee.store(0, ordering: .releasing)
  }

  /// The note of a checksum that is about to be written into a frame.
  var checksum: PacketChecksumNote {
    unsafe PacketChecksumNote(
      word: (base + Offset.checksum).assumingMemoryBound(to: Atomic<UInt64>.self))
  }
}

/// The note of a checksum that is about to be written into a frame, and of that frame.
///
/// Once the checksum is in the frame, computing it again would give a different value.
@unsafe
struct PacketChecksumNote {
  let word: UnsafeMutablePointer<Atomic<UInt64>>

  /// The checksum of a frame.
  ///
  /// - Parameters:
  ///   - sequence: The number of the frame's block.
  ///   - offset: Where it is in the block.
  ///   - compute: Computes the checksum; called unless the note has it already.
  /// - Returns: The checksum, to be written into the frame.
  func value(_ sequence: UInt64, _ offset: UInt32, _ compute: () -> UInt16) -> UInt16 {
    let key = 1 << 63 | (sequence & 0x1fff_ffff) << 34 | UInt64(offset & 0x3ffff) << 16
    let noted = unsafe word.pointee.load(ordering: .relaxed)
    if noted & ~0xffff == key { return UInt16(noted & 0xffff) }
    let value = compute()
    unsafe word.pointee.store(key | UInt64(value), ordering: .relaxed)
    atomicMemoryFence(ordering: .acquiringAndReleasing)
    return value
  }

  /// Clears the note, once the checksum is in the frame and the frame says so.
  func clear() {
    unsafe word.pointee.store(0, ordering: .releasing)
  }
}

/// How far the writer of a transmit ring has got: one word, so that one store changes it.
struct PacketTransmitPlace {
  /// The frame to fill next.
  var next: UInt32 = 0
  /// Frames before ``next`` that the kernel has not given back.
  var underWay: UInt32 = 0
  /// `hwcur` of the netmap ring at this place.
  var slot: UInt32 = 0
  /// Whether to drop the slots up to the end of a packet, because the beginning of the packet was dropped.
  var isDiscarding = false

  @inline(__always)
  init(_ word: UInt64) {
    next = UInt32(word & 0xffff)
    underWay = UInt32(word >> 16 & 0xffff)
    slot = UInt32(word >> 32 & 0xffff)
    isDiscarding = word >> 48 & 1 != 0
  }

  @inline(__always)
  var word: UInt64 {
    UInt64(next & 0xffff) | UInt64(underWay & 0xffff) << 16 | UInt64(slot & 0xffff) << 32
      | (isDiscarding ? 1 << 48 : 0)
  }

  /// The oldest frame that the kernel has not given back.
  @inline(__always)
  func oldest(of frameCount: UInt32) -> UInt32 {
    next >= underWay ? next &- underWay : next &+ frameCount &- underWay
  }
}

/// The words of a transmit ring.
@unsafe
struct PacketTransmitCursor {
  let base: UnsafeMutableRawPointer

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The place of the writer; nil when its frame is not below `frameCount`, or its slot not below `slots`.
  @inline(__always)
  func load(below frameCount: UInt32, _ slots: UInt32) -> PacketTransmitPlace? {
    let place = PacketTransmitPlace(unsafe word(0).pointee.load(ordering: .relaxed))
    guard place.next < frameCount, place.underWay <= frameCount, place.slot < slots else {
      return nil
    }
    return place
  }

  @inline(__always)
  func store(_ place: PacketTransmitPlace) {
    unsafe word(0).pointee.store(place.word, ordering: .releasing)
    atomicMemoryFence(ordering: .releasing)
  }

  /// Bytes that were handed to the kernel, and that it has not yet reported as sent.
  @inline(__always)
  var bytesUnsent: UInt64 {
    get { unsafe word(8).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe word(8).pointee.store(newValue, ordering: .relaxed) }
  }
}
