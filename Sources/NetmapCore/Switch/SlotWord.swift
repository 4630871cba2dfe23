internal import CNetmap

/// Index, length and flags of a slot, read by one load.
struct SlotWord {
  let word: UInt64

  @inline(__always)
  init(at slot: UnsafeMutablePointer<Slot>) {
    word = unsafe UInt64(
      littleEndian: UnsafeRawPointer(slot).loadUnaligned(as: UInt64.self))
  }

  @inline(__always)
  var buffer: UInt32 { UInt32(truncatingIfNeeded: word) }

  @inline(__always)
  var length: UInt64 { word >> 32 & 0xffff }

  /// Where its buffer begins, after buffer 0: that one, the sink, for an index that is none.
  @inline(__always)
  func offset(in ring: Ring) -> Int {
    unsafe Int(buffer < ring.bufferCount ? buffer : 0) &* Int(ring.bufferSize)
  }

  /// Whether it holds a packet, or nothing, in its own buffer, which that does not exceed.
  @inline(__always)
  func isSingle(in ring: Ring) -> Bool {
    let unusual = UInt64(NS_BUF_CHANGED | NS_INDIRECT | NS_MOREFRAG) << 48
    return unsafe word & unusual == 0 && buffer < ring.bufferCount
      && length <= UInt64(ring.bufferSize)
  }

  /// Whether it holds a packet of an Ethernet header at least, and nothing unusual.
  @inline(__always)
  func isWhole(in ring: Ring) -> Bool {
    unsafe isSingle(in: ring) && length >= 14
  }
}
