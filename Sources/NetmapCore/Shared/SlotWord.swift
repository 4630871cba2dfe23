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

  /// ``length`` in 32 bits.
  @inlinable @inline(__always)
  var byteCount: UInt32 { UInt32(truncatingIfNeeded: length) }

  /// Whether the slot has at least one of some flags.
  @inlinable @inline(__always)
  func hasAny(_ flags: SlotFlags) -> Bool { rawValue & UInt64(flags.rawValue) << 48 != 0 }
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
