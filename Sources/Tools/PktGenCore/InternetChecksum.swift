/// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
///
/// Sums are one's complement sums of 16-bit words in network order, not yet folded or complemented.
package enum InternetChecksum {
  /// The sum of the words in `bytes`; an odd last byte counts as the high half of a word.
  package static func sum(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var total: UInt64 = 0
    var isHigh = true
    for byte in bytes {
      total += isHigh ? UInt64(byte) << 8 : UInt64(byte)
      isHigh.toggle()
    }
    return total
  }

  /// The sum of the words in memory; an odd last byte counts as the high half of a word.
  @unsafe
  static func sum(_ bytes: UnsafeRawPointer, _ count: Int) -> UInt64 {
    var total: UInt64 = 0
    var offset = 0
    while offset &+ 1 < count {
      let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)
      total &+= UInt64(UInt16(bigEndian: word))
      offset &+= 2
    }
    if offset < count {
      total &+= unsafe UInt64(bytes.load(fromByteOffset: offset, as: UInt8.self)) << 8
    }
    return total
  }

  /// Folds a sum into 16 bits.
  @inline(__always)
  package static func folded(_ sum: UInt64) -> UInt16 {
    var sum = sum
    sum = (sum & 0xffff_ffff) &+ (sum >> 32)
    sum = (sum & 0xffff) &+ (sum >> 16)
    sum = (sum & 0xffff) &+ (sum >> 16)
    sum = (sum & 0xffff) &+ (sum >> 16)
    return UInt16(truncatingIfNeeded: sum)
  }

  /// The checksum field for a sum over all covered bytes.
  package static func field(_ sum: UInt64) -> UInt16 {
    ~folded(sum)
  }

  /// The UDP checksum field, where 0 means that there is no checksum (RFC 768).
  package static func udpField(_ sum: UInt64) -> UInt16 {
    let value = field(sum)
    return value == 0 ? 0xffff : value
  }

  /// The checksum field after a change (RFC 1624, equation 3): `~(~HC + ~m + m')`.
  ///
  /// `change` is the sum of ``change(_:_:)`` over all changed words.
  @inline(__always)
  package static func updated(_ old: UInt16, by change: UInt64) -> UInt16 {
    ~folded(UInt64(~old) &+ change)
  }

  /// As ``updated(_:by:)``, for a UDP checksum.
  @inline(__always)
  package static func updatedUDP(_ old: UInt16, by change: UInt64) -> UInt16 {
    let value = updated(old, by: change)
    return value == 0 ? 0xffff : value
  }

  /// A changed word's contribution to the sum: `~m + m'`.
  @inline(__always)
  package static func change(_ old: UInt16, _ new: UInt16) -> UInt64 {
    UInt64(~old) &+ UInt64(new)
  }

  /// The contribution of two words at once.
  @inline(__always)
  package static func change(_ old: UInt32, _ new: UInt32) -> UInt64 {
    change(UInt16(truncatingIfNeeded: old >> 16), UInt16(truncatingIfNeeded: new >> 16))
      &+ change(UInt16(truncatingIfNeeded: old), UInt16(truncatingIfNeeded: new))
  }
}
