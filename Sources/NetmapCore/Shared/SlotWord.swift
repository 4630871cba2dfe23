internal import CNetmap

/// Index, length and flags of a slot: one 64-bit word of shared memory, as a single load found it.
///
/// A value, not a view: the value that the caller validates is the value that it uses.
@frozen
public struct SlotWord: Hashable, Sendable {
  /// From the lowest bit: 32 bits of the index, 16 of the length, 16 of flags.
  public let rawValue: UInt64

  @inlinable @inline(__always)
  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  @inlinable @inline(__always)
  public init(bufferIndex: UInt32, length: UInt16, flags: SlotFlags = []) {
    rawValue = UInt64(bufferIndex) | UInt64(length) << 32 | UInt64(flags.rawValue) << 48
  }

  /// The word of a slot, without its pointer.
  @inlinable @inline(__always)
  public init(_ slot: Slot) {
    self.init(bufferIndex: slot.bufferIndex, length: slot.length, flags: slot.flags)
  }

  @inlinable @inline(__always)
  init(at slot: UnsafeRawPointer) {
    // Slots lie in memory mapped for writing, so the conversion to a mutable pointer is sound.
    self = unsafe SlotPlace(UnsafeMutableRawPointer(mutating: slot)).loadWord()
  }

  @inlinable @inline(__always)
  public var buffer: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  /// Bytes, at most 65535.
  @inlinable @inline(__always)
  public var length: UInt64 { rawValue >> 32 & 0xffff }

  @inlinable @inline(__always)
  public var flags: SlotFlags { SlotFlags(rawValue: UInt16(truncatingIfNeeded: rawValue >> 48)) }

  /// The distance of the slot's buffer from buffer 0, in bytes; 0 (the sink) for an index out of range.
  @inline(__always)
  func offset(in ring: Ring) -> Int {
    unsafe Int(buffer < ring.bufferCount ? buffer : 0) &* Int(ring.bufferSize)
  }

  /// Whether the slot holds a complete packet in its own buffer: at least an Ethernet header long, at most a
  /// buffer long, and without the flags that need special treatment.
  @inline(__always)
  func isWhole(in ring: Ring) -> Bool {
    unsafe isWhole(ring.bufferCount, Int(ring.bufferSize))
  }

  /// Same test as ``isWhole(in:)``, for a ring with `bufferCount` buffers of `bufferSize` bytes.
  @inlinable @inline(__always)
  func isWhole(_ bufferCount: UInt32, _ bufferSize: Int) -> Bool {
    let unusual =
      SlotFlags.bufferChanged.rawValue | SlotFlags.indirect.rawValue
      | SlotFlags.moreFragments.rawValue
    return rawValue & UInt64(unusual) << 48 == 0 && buffer < bufferCount
      && length <= UInt64(truncatingIfNeeded: bufferSize) && length >= 14
  }
}

extension Slot {
  /// Combines the two words of a slot.
  @inlinable @inline(__always)
  init(_ word: SlotWord, pointer: UInt64) {
    self.init(
      bufferIndex: word.buffer, length: UInt16(truncatingIfNeeded: word.length), flags: word.flags,
      pointer: pointer)
  }
}
