/// A view of an ICMP message (RFC 792) or an ICMPv6 message (RFC 4443).
@frozen
public struct ICMPMessage: ~Escapable {
  /// Type 0 of ICMP: the reply to a ping.
  @inlinable public static var echoReply: UInt8 { 0 }
  /// Type 3 of ICMP: a packet has not reached its destination.
  @inlinable public static var destinationUnreachable: UInt8 { 3 }
  /// Type 8 of ICMP: a ping.
  @inlinable public static var echoRequest: UInt8 { 8 }
  /// Type 11 of ICMP: the time to live of a packet has run out.
  @inlinable public static var timeExceeded: UInt8 { 11 }
  /// Type 128 of ICMPv6: a ping.
  @inlinable public static var echoRequestV6: UInt8 { 128 }
  /// Type 129 of ICMPv6: the reply to a ping.
  @inlinable public static var echoReplyV6: UInt8 { 129 }

  /// Bytes before the payload.
  @inlinable
  public static var headerLength: Int { 8 }

  /// The message.
  public let bytes: RawSpan

  /// Nil if the header is incomplete.
  ///
  /// - Parameter bytes: The payload of an IP packet.
  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard bytes.byteCount >= Self.headerLength else { return nil }
    self.bytes = bytes
  }

  /// The kind of message. ICMP and ICMPv6 have different numbers.
  @inlinable
  public var type: UInt8 { bytes[0] }

  /// The subtype of the message.
  @inlinable
  public var code: UInt8 { bytes[1] }

  /// The checksum. In ICMPv6 it also covers the IP addresses, so the view of the IP packet checks it.
  @inlinable
  public var checksum: UInt16 { bytes.uint16(at: 2) }

  /// The number of the ping process; meaningful in echo requests and replies.
  @inlinable
  public var identifier: UInt16 { bytes.uint16(at: 4) }

  /// The number of the request; meaningful in echo requests and replies.
  @inlinable
  public var sequence: UInt16 { bytes.uint16(at: 6) }

  /// The bytes behind the first 8.
  @inlinable @inline(__always)
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: Self.headerLength) }
  }
}
