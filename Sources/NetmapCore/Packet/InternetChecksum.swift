/// The Internet checksum of IP, ICMP, TCP and UDP (RFC 1071).
///
/// To compute a checksum, add all bytes that it covers, with 0 in the checksum field. Then ``field``
/// is the value of that field.
@frozen
public struct InternetChecksum: Hashable, Sendable {
  /// The one's complement sum of the 16-bit words, not folded.
  @usableFromInline var sum: UInt64 = 0

  /// The checksum of no bytes.
  @inlinable
  public init() {}

  /// The checksum of `bytes`.
  @inlinable
  public init(_ bytes: RawSpan) { add(bytes) }

  /// Adds bytes; an odd last byte counts as the high half of a word.
  ///
  /// - Parameter bytes: An even number of bytes, unless they are the last ones.
  @inlinable
  public mutating func add(_ bytes: RawSpan) {
    let part = unsafe bytes.withUnsafeBytes { bytes -> UInt16 in
      guard let start = bytes.baseAddress else { return 0 }
      return folded(unsafe onesComplementSum(start, bytes.count))
    }
    sum &+= UInt64(UInt16(bigEndian: part))
  }

  /// Adds a 16-bit word.
  @inlinable
  public mutating func add(_ word: UInt16) { sum &+= UInt64(word) }

  /// Adds two 16-bit words.
  @inlinable
  public mutating func add(_ words: UInt32) { sum &+= UInt64(words) }

  /// The value of the checksum field.
  @inlinable
  public var field: UInt16 { ~folded(sum) }

  /// The value of a UDP checksum field: ``field``, but 0xffff instead of 0. There 0 means that the
  /// datagram has no checksum (RFC 768).
  @inlinable
  public var udpField: UInt16 { checksum(sum) }

  /// Whether the checksum is valid, if the added bytes include the checksum field.
  @inlinable
  public var isValid: Bool { folded(sum) == 0xffff }
}
