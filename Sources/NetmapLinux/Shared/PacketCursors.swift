internal import CLinux
internal import Synchronization

// How far the rings of packet sockets have got: plain data in memory that every process on the port
// maps, guarded by the lock of the netmap ring. A process may be killed between any two stores, so the
// state changes with one store, and whatever is derived from it can be derived again. Any of them may write
// here at any time, too: a word is loaded once, and no number is believed before it has been compared with
// the ring's.

/// How far the reader of a receive ring has got.
struct PacketReceivePlace {
  /// The block that is read, or will be next.
  var block: UInt32 = 0
  /// Where the next frame begins in it, bytes; means nothing while ``framesLeft`` is 0.
  var offset: UInt32 = 0
  /// Frames of the block not yet taken; 0 while the block still is the kernel's.
  var framesLeft: UInt32 = 0
  /// Bytes of payload taken of a frame that is delivered in segments; 0 for a fresh frame.
  var payloadTaken: UInt32 = 0
  /// Whether the kernel has, or may have, dropped packets since it was last asked.
  var statisticsDue: UInt32 = 0
  /// `hwtail` of the netmap ring, by then.
  var tail: UInt32 = 0
  /// The number of the block that was to be handed back after this was written.
  var finishedSequence: UInt64 = 0

  /// Frames that fit a block, whatever it says.
  static var mostFrames: UInt32 {
    UInt32(PacketReceiveLayout.blockBytes / CLINUX_FRAME_HEADER)
  }
}

/// The words of a receive ring: its place twice, and which of the two holds.
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

  /// Where the reader is; the initial place when the words name no block below `blockCount`.
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

  /// Replaces all of it at once.
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

  /// Whether a sync did not come to its end.
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

  /// Where a checksum is noted that is about to be written into a frame.
  var checksum: PacketChecksumNote {
    unsafe PacketChecksumNote(
      word: (base + Offset.checksum).assumingMemoryBound(to: Atomic<UInt64>.self))
  }
}

/// A checksum that is about to be written into a frame, and which frame: adding it up again, once it
/// has been written, would give another one.
@unsafe
struct PacketChecksumNote {
  let word: UnsafeMutablePointer<Atomic<UInt64>>

  /// The checksum of a frame.
  ///
  /// - Parameters:
  ///   - sequence: The number of the frame's block.
  ///   - offset: Where it is in the block.
  ///   - compute: Adds it up; called unless that was done already.
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

  /// It has been written, and the frame says so.
  func clear() {
    unsafe word.pointee.store(0, ordering: .releasing)
  }
}

/// How far the writer of a transmit ring has got: one word, so that one store changes it.
struct PacketTransmitPlace {
  /// The frame to fill next.
  var next: UInt32 = 0
  /// Frames up to ``next`` that the kernel has not given back.
  var underWay: UInt32 = 0
  /// `hwcur` of the netmap ring, by then.
  var slot: UInt32 = 0
  /// Whether the slots up to the end of a packet are to be thrown away: its beginning was.
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

  /// Where the writer is; nil when that is no frame below `frameCount`, or no slot below `slots`.
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

  /// Bytes handed to the kernel that it has not yet said to have sent.
  @inline(__always)
  var bytesUnsent: UInt64 {
    get { unsafe word(8).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe word(8).pointee.store(newValue, ordering: .relaxed) }
  }
}
