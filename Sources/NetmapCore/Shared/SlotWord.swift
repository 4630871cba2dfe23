internal import CNetmap

/// Index, length and flags of a slot: one 64-bit word of shared memory, as one load found it.
///
/// A value, not a view: what was checked is what is used.
@frozen
public struct SlotWord: Hashable, Sendable {
  /// From the lowest bit: 32 of the index, 16 of the length, 16 of flags.
  public let rawValue: UInt64

  @inlinable @inline(__always)
  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  @inlinable @inline(__always)
  public init(bufferIndex: UInt32, length: UInt16, flags: SlotFlags = []) {
    rawValue = UInt64(bufferIndex) | UInt64(length) << 32 | UInt64(flags.rawValue) << 48
  }

  /// A slot without its pointer.
  @inlinable @inline(__always)
  public init(_ slot: Slot) {
    self.init(bufferIndex: slot.bufferIndex, length: slot.length, flags: slot.flags)
  }

  @inlinable @inline(__always)
  init(at slot: UnsafeRawPointer) {
    // Whoever has a pointer to a slot has one that could be written through.
    self = unsafe SlotPlace(UnsafeMutableRawPointer(mutating: slot)).loadWord()
  }

  @inlinable @inline(__always)
  public var buffer: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  /// Bytes, at most 65535.
  @inlinable @inline(__always)
  public var length: UInt64 { rawValue >> 32 & 0xffff }

  @inlinable @inline(__always)
  public var flags: SlotFlags { SlotFlags(rawValue: UInt16(truncatingIfNeeded: rawValue >> 48)) }

  /// Where its buffer begins, after buffer 0: that one, the sink, for an index that is none.
  @inline(__always)
  func offset(in ring: Ring) -> Int {
    unsafe Int(buffer < ring.bufferCount ? buffer : 0) &* Int(ring.bufferSize)
  }

  /// Whether it holds a packet of an Ethernet header at least, in its own buffer, which that does not
  /// exceed, and nothing is unusual about it.
  @inline(__always)
  func isWhole(in ring: Ring) -> Bool {
    unsafe isWhole(ring.bufferCount, Int(ring.bufferSize))
  }

  /// The same for a ring with so many buffers of so many bytes.
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
  /// What a slot's two words say.
  @inlinable @inline(__always)
  init(_ word: SlotWord, pointer: UInt64) {
    self.init(
      bufferIndex: word.buffer, length: UInt16(truncatingIfNeeded: word.length), flags: word.flags,
      pointer: pointer)
  }
}
