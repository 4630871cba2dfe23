/// A view of a UDP datagram (RFC 768).
@frozen
public struct UDPDatagram: ~Escapable {
  /// Bytes of a UDP header.
  @inlinable
  public static var headerLength: Int { 8 }

  /// The datagram: ``length`` bytes, or fewer if it ``isTruncated``.
  public let bytes: RawSpan
  /// Bytes of the datagram as its header says, 8 to 65535.
  public let length: Int

  /// Nil if the header is incomplete, or states a length below 8.
  ///
  /// - Parameter bytes: The payload of an IP packet.
  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard bytes.byteCount >= Self.headerLength else { return nil }
    length = Int(bytes.uint16(at: 4))
    guard length >= Self.headerLength else { return nil }
    self.bytes = bytes.extracting(first: length)
  }

  /// Whether the bytes end before the datagram.
  @inlinable
  public var isTruncated: Bool { length > bytes.byteCount }

  /// The port of the sender; 0 for none.
  @inlinable
  public var sourcePort: UInt16 { bytes.uint16(at: 0) }

  /// The port to which the datagram goes.
  @inlinable
  public var destinationPort: UInt16 { bytes.uint16(at: 2) }

  /// The checksum; 0 for none. It also covers the IP addresses, so the view of the IP packet checks it.
  @inlinable
  public var checksum: UInt16 { bytes.uint16(at: 6) }

  /// The bytes behind the header.
  @inlinable @inline(__always)
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: Self.headerLength) }
  }
}
