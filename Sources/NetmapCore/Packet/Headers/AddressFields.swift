// Addresses in headers. The caller has validated the length; the methods trap past the end.

extension RawSpan {
  @inlinable @inline(__always)
  func macAddress(at offset: Int) -> MACAddress {
    let low = unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
    let high = unsafe unsafeLoadUnaligned(fromByteOffset: offset &+ 4, as: UInt16.self)
    return MACAddress(
      rawValue: UInt64(UInt32(littleEndian: low)) | UInt64(UInt16(littleEndian: high)) << 32)
  }

  @inlinable @inline(__always)
  func ipv4Address(at offset: Int) -> IPv4Address { IPv4Address(rawValue: uint32(at: offset)) }

  @inlinable @inline(__always)
  func ipv6Address(at offset: Int) -> IPv6Address {
    IPv6Address(high: uint64(at: offset), low: uint64(at: offset &+ 8))
  }
}

extension MutableRawSpan {
  @inlinable @inline(__always)
  mutating func setMACAddress(_ address: MACAddress, at offset: Int) {
    let low = UInt32(truncatingIfNeeded: address.rawValue).littleEndian
    let high = UInt16(truncatingIfNeeded: address.rawValue >> 32).littleEndian
    storeBytes(of: low, toByteOffset: offset, as: UInt32.self)
    storeBytes(of: high, toByteOffset: offset &+ 4, as: UInt16.self)
  }
}
