// The Internet checksum (RFC 1071), in the processor's own byte order, which changes nothing: sums of
// swapped words are swapped sums.

/// Adds `count` bytes to a sum that ``folded(_:)`` has not been applied to yet.
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
    // A last odd byte is the first one of its word.
    sum &+= UInt64(
      UInt16(littleEndian: UInt16(unsafe bytes.load(fromByteOffset: at, as: UInt8.self))))
  }
  return sum
}

/// A sum brought back to 16 bits.
@inlinable @inline(always)
package func folded(_ sum: UInt64) -> UInt16 {
  var value = (sum >> 32) &+ (sum & 0xffff_ffff)
  value = (value >> 32) &+ (value & 0xffff_ffff)
  value = (value >> 16) &+ (value & 0xffff)
  value = (value >> 16) &+ (value & 0xffff)
  value = (value >> 16) &+ (value & 0xffff)
  return UInt16(truncatingIfNeeded: value)
}

/// What goes into a checksum field: never 0, which UDP takes for "no checksum".
@inlinable @inline(always)
package func checksum(_ sum: UInt64) -> UInt16 {
  let value = ~folded(sum)
  return value == 0 ? 0xffff : value
}
