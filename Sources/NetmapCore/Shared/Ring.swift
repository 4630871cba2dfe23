public import CNetmap
public import Synchronization

/// A netmap ring in shared memory (`struct netmap_ring`): the part that the application may touch.
///
/// The application owns the slots from ``head`` up to, not including, ``tail``; the engine owns the rest. The
/// view consists of two pointers and three trusted numbers: copying it costs little, and it keeps no memory
/// alive. The engine supplies the numbers that bound memory accesses (slot count, buffer count, buffer size); the
/// view never uses the copies of these numbers in the ring itself.
///
/// Not for application code. Applications use the rings of a `NetmapPort`, which cannot outlive the port.
@unsafe @frozen
public struct Ring {
  public let base: UnsafeMutableRawPointer

  /// Address of buffer 0 in this process's mapping of the region.
  public let buffers: UnsafeMutableRawPointer

  /// Slots in the ring, at least 1.
  ///
  /// One of them always stays empty.
  public let slotCount: UInt32

  /// Buffers in the region; a valid index is below this number.
  public let bufferCount: UInt32

  /// Bytes in a buffer; also the distance between the starts of consecutive buffers.
  public let bufferSize: UInt32

  @inlinable
  public init(
    base: UnsafeMutableRawPointer, buffers: UnsafeMutableRawPointer, slotCount: UInt32,
    bufferCount: UInt32, bufferSize: UInt32
  ) {
    unsafe self.base = base
    unsafe self.buffers = buffers
    unsafe self.slotCount = slotCount
    unsafe self.bufferCount = bufferCount
    unsafe self.bufferSize = bufferSize
  }
}

extension Ring {
  /// The first slot that the application owns.
  @inlinable @inline(always)
  public var head: UInt32 {
    get { unsafe cursor(NETMAP_RING_HEAD_OFFSET).pointee.load(ordering: .acquiring) }
    nonmutating set {
      unsafe cursor(NETMAP_RING_HEAD_OFFSET).pointee.store(newValue, ordering: .releasing)
    }
  }

  /// The wake-up point: a wait ends when the slot at `cur` belongs to the application.
  @inlinable @inline(always)
  public var cur: UInt32 {
    get { unsafe cursor(NETMAP_RING_CUR_OFFSET).pointee.load(ordering: .relaxed) }
    nonmutating set {
      unsafe cursor(NETMAP_RING_CUR_OFFSET).pointee.store(newValue, ordering: .relaxed)
    }
  }

  /// The first slot after the application's slots, owned by the engine.
  @inlinable @inline(always)
  public var tail: UInt32 {
    get { unsafe cursor(NETMAP_RING_TAIL_OFFSET).pointee.load(ordering: .acquiring) }
    nonmutating set {
      unsafe cursor(NETMAP_RING_TAIL_OFFSET).pointee.store(newValue, ordering: .releasing)
    }
  }

  /// The `NR_*` bits.
  @inlinable @inline(always)
  public var flags: UInt32 {
    get { unsafe cursor(NETMAP_RING_FLAGS_OFFSET).pointee.load(ordering: .relaxed) }
    nonmutating set {
      unsafe cursor(NETMAP_RING_FLAGS_OFFSET).pointee.store(newValue, ordering: .relaxed)
    }
  }

  /// Bits of a slot's pointer that hold an offset; 0 where offsets are not in use (`offset_mask`).
  @inlinable @inline(always)
  public var offsetMask: UInt64 {
    unsafe (base + NETMAP_RING_OFFSET_MASK_OFFSET).assumingMemoryBound(to: Atomic<UInt64>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// Wall-clock time of the last receive sync, since 1970.
  public var timestamp: (seconds: Int64, microseconds: Int64) {
    unsafe (
      Int64(word(NETMAP_RING_TS_SEC_OFFSET).pointee.load(ordering: .relaxed)),
      Int64(word(NETMAP_RING_TS_USEC_OFFSET).pointee.load(ordering: .relaxed))
    )
  }

  /// Stores the wall-clock time of a receive sync: seconds since 1970, and microseconds.
  @inline(__always)
  func store(timestamp seconds: Int, _ microseconds: Int) {
    unsafe word(NETMAP_RING_TS_SEC_OFFSET).pointee.store(seconds, ordering: .relaxed)
    unsafe word(NETMAP_RING_TS_USEC_OFFSET).pointee.store(microseconds, ordering: .relaxed)
  }

  @inline(__always)
  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<Int>.self)
  }

  /// The index of the slot after `index`, wrapping at the end of the ring.
  @inlinable @inline(always)
  public func next(_ index: UInt32) -> UInt32 {
    unsafe index &+ 1 == slotCount ? 0 : index &+ 1
  }

  /// The index of the slot `count` slots after `index`, wrapping; `count` must not exceed ``slotCount``.
  @inlinable @inline(always)
  public func index(_ index: UInt32, advancedBy count: Int) -> UInt32 {
    let place = index &+ UInt32(truncatingIfNeeded: count)
    return unsafe place >= slotCount ? place &- slotCount : place
  }

  /// The number of slots from `from` to `to`, modulo the ring; both must be below ``slotCount``.
  @inlinable @inline(always)
  public func distance(from: UInt32, to: UInt32) -> UInt32 {
    unsafe to >= from ? to &- from : to &+ slotCount &- from
  }

  /// The slot at `index`, which must be below ``slotCount``.
  @inlinable @inline(always)
  public func slot(_ index: UInt32) -> UnsafeMutablePointer<Slot> {
    unsafe (base + NETMAP_RING_SLOTS_OFFSET + Int(index) &* MemoryLayout<Slot>.size)
      .assumingMemoryBound(to: Slot.self)
  }

  /// The address of a buffer; an index out of range gives buffer 0, the sink.
  @inlinable @inline(always)
  public func buffer(_ index: UInt32) -> UnsafeMutableRawPointer {
    let safe = unsafe rule.reaches(index) ? index : 0
    return unsafe buffers + Int(safe) &* Int(bufferSize)
  }

  @inlinable @inline(always)
  func cursor(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}
