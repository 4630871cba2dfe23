/// A view of an ICMP message (RFC 792) or an ICMPv6 message (RFC 4443).
@frozen
public struct ICMPMessage: ~Escapable {
  /// The type of an answer to ping, ICMP.
  @inlinable public static var echoReply: UInt8 { 0 }
  /// The type of a message that says that a packet did not reach its destination, ICMP.
  @inlinable public static var destinationUnreachable: UInt8 { 3 }
  /// The type of ping, ICMP.
  @inlinable public static var echoRequest: UInt8 { 8 }
  /// The type of a message that says that the time to live has run out, ICMP.
  @inlinable public static var timeExceeded: UInt8 { 11 }
  /// The type of ping, ICMPv6.
  @inlinable public static var echoRequestV6: UInt8 { 128 }
  /// The type of an answer to ping, ICMPv6.
  @inlinable public static var echoReplyV6: UInt8 { 129 }

  /// Bytes before the payload.
  @inlinable
  public static var headerLength: Int { 8 }

  /// The message.
  public let bytes: RawSpan

  /// Nil when the header is not all there.
  ///
  /// - Parameter bytes: The payload of an IP packet.
  @inlinable
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard bytes.has(Self.headerLength, at: 0) else { return nil }
    self.bytes = bytes
  }

  /// The kind of message. ICMP and ICMPv6 have different numbers.
  @inlinable
  public var type: UInt8 { bytes[0] }

  /// A distinction within the type.
  @inlinable
  public var code: UInt8 { bytes[1] }

  /// The checksum. That of ICMPv6 also covers addresses of the IP packet, which can check it.
  @inlinable
  public var checksum: UInt16 { bytes.uint16(at: 2) }

  /// The number of the ping process; meaningful in echo requests and replies.
  @inlinable
  public var identifier: UInt16 { bytes.uint16(at: 4) }

  /// The number of the request; meaningful in echo requests and replies.
  @inlinable
  public var sequence: UInt16 { bytes.uint16(at: 6) }

  /// The bytes behind the first 8.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: Self.headerLength) }
  }
}
