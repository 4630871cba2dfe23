// The Internet checksum (RFC 1071), computed in host byte order. The result is the same, because a
// sum of byte-swapped words is the byte-swapped sum.

/// Adds `count` bytes to a sum that ``folded(_:)`` has not folded yet.
@inlinable @inline(always)
package func onesComplementSum(
  _ bytes: UnsafeRawPointer, _ count: Int, adding initial: UInt64 = 0
) -> UInt64 {
  var sum = initial
  var at = 0
  while at &+ 4 <= count {
    sum &+= UInt64(unsafe bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    at &+= 4
  }
  if at &+ 2 <= count {
    sum &+= UInt64(unsafe bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self))
    at &+= 2
  }
  if at < count {
    // A trailing odd byte is the first byte of its word.
    sum &+= UInt64(
      UInt16(littleEndian: UInt16(unsafe bytes.load(fromByteOffset: at, as: UInt8.self))))
  }
  return sum
}

/// Folds a sum to 16 bits.
@inlinable @inline(always)
package func folded(_ sum: UInt64) -> UInt16 {
  var value = (sum >> 32) &+ (sum & 0xffff_ffff)
  value = (value >> 32) &+ (value & 0xffff_ffff)
  value = (value >> 16) &+ (value & 0xffff)
  value = (value >> 16) &+ (value & 0xffff)
  value = (value >> 16) &+ (value & 0xffff)
  return UInt16(truncatingIfNeeded: value)
}

/// The value for a checksum field: never 0, which means "no checksum" in UDP.
@inlinable @inline(always)
package func checksum(_ sum: UInt64) -> UInt16 {
  let value = ~folded(sum)
  return value == 0 ? 0xffff : value
}
