/// The change of a checksum when words that it covers change (RFC 1624).
///
/// A program that changes a few words of a packet can update the checksum field without adding up
/// the whole packet.
@frozen
public struct ChecksumChange: Hashable, Sendable {
  /// The one's complement sum of the changes, not folded.
  @usableFromInline var sum: UInt64 = 0

  /// No change.
  @inlinable
  public init() {}

  /// Whether no word has been replaced.
  @inlinable
  public var isEmpty: Bool { sum == 0 }

  /// Replaces a 16-bit word, which begins at an even offset of the bytes that the checksum covers.
  @inlinable @inline(__always)
  public mutating func replace(_ old: UInt16, with new: UInt16) {
    sum &+= UInt64(~old) &+ UInt64(new)
  }

  /// Replaces two 16-bit words, which begin at an even offset of the bytes that the checksum covers.
  @inlinable @inline(__always)
  public mutating func replace(_ old: UInt32, with new: UInt32) {
    replace(UInt16(truncatingIfNeeded: old >> 16), with: UInt16(truncatingIfNeeded: new >> 16))
    replace(UInt16(truncatingIfNeeded: old), with: UInt16(truncatingIfNeeded: new))
  }

  /// Adds the words that another change replaces.
  @inlinable @inline(__always)
  public mutating func add(_ other: ChecksumChange) { sum &+= other.sum }

  /// The checksum field after the change: equation 3 of RFC 1624.
  @inlinable @inline(__always)
  public func applied(to field: UInt16) -> UInt16 { ~folded(UInt64(~field) &+ sum) }

  /// The UDP checksum field after the change. A field of 0 stays 0, because it means that the datagram
  /// has no checksum (RFC 768); other fields never become 0.
  @inlinable @inline(__always)
  public func applied(toUDP field: UInt16) -> UInt16 {
    field == 0 ? 0 : checksum(UInt64(~field) &+ sum)
  }
}
