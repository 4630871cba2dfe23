internal import CLinux
internal import Synchronization

// How far the rings of packet sockets have got: plain data in memory that every process on the port
// maps, guarded by the lock of the netmap ring. A process may be killed between any two stores, so the
// state changes with one store, and whatever is derived from it can be derived again.

/// How far the reader of a receive ring has got.
struct PacketReceivePlace: BitwiseCopyable {
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

  @inline(__always)
  private func copy(_ turn: UInt32) -> UnsafeMutablePointer<PacketReceivePlace> {
    unsafe (base + Offset.places).assumingMemoryBound(to: PacketReceivePlace.self) + Int(turn & 1)
  }

  /// Where the reader is. A store replaces all of it at once.
  @inline(__always)
  var place: PacketReceivePlace {
    get {
      unsafe copy(word(Offset.turn).pointee.load(ordering: .relaxed)).pointee
    }
    nonmutating set {
      let next = unsafe word(Offset.turn).pointee.load(ordering: .relaxed) ^ 1
      unsafe copy(next).pointee = newValue
      unsafe word(Offset.turn).pointee.store(next, ordering: .releasing)
      atomicMemoryFence(ordering: .releasing)
    }
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

  private var word: UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe base.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inline(__always)
  var place: PacketTransmitPlace {
    get { PacketTransmitPlace(unsafe word.pointee.load(ordering: .relaxed)) }
    nonmutating set {
      unsafe word.pointee.store(newValue.word, ordering: .releasing)
      atomicMemoryFence(ordering: .releasing)
    }
  }

  /// Bytes handed to the kernel that it has not yet said to have sent.
  @inline(__always)
  var bytesUnsent: UInt64 {
    get { unsafe base.load(fromByteOffset: 8, as: UInt64.self) }
    nonmutating set { unsafe base.storeBytes(of: newValue, toByteOffset: 8, as: UInt64.self) }
  }
}
