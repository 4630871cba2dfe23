internal import CNetmap

/// Index, length and flags of a slot, read by one load.
@frozen @usableFromInline
struct SlotWord {
  @usableFromInline let word: UInt64

  @inlinable @inline(__always)
  init(at slot: UnsafeRawPointer) {
    word = unsafe UInt64(littleEndian: slot.loadUnaligned(as: UInt64.self))
  }

  @inline(__always)
  init(at slot: UnsafeMutablePointer<Slot>) {
    unsafe self.init(at: UnsafeRawPointer(slot))
  }

  @inlinable @inline(__always)
  var buffer: UInt32 { UInt32(truncatingIfNeeded: word) }

  @inlinable @inline(__always)
  var length: UInt64 { word >> 32 & 0xffff }

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
    return word & UInt64(unusual) << 48 == 0 && buffer < bufferCount
      && length <= UInt64(truncatingIfNeeded: bufferSize) && length >= 14
  }
}
