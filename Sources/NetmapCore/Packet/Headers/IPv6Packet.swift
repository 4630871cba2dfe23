/// A view of an IPv6 packet (RFC 8200).
///
/// The view skips up to eight hop-by-hop, routing, fragment, authentication and destination options
/// headers. Jumbograms (RFC 2675) count as malformed.
@frozen
public struct IPv6Packet: ~Escapable {
  /// The packet: 40 + ``payloadLength`` bytes, or fewer if it ``isTruncated``. Padding is not
  /// included.
  public let bytes: RawSpan
  /// Bytes of the IPv6 header and its extension headers, 40 or more.
  public let headerLength: Int
  /// Bytes behind the first 40, as the header says: extension headers and ``payload``, 0 to 65535.
  public let payloadLength: Int
  /// The protocol of the payload, behind the extension headers.
  public let nextProtocol: IPProtocol
  /// Whether this is a fragment of a packet.
  public let isFragment: Bool

  /// Nil if the header or an extension header is incomplete, or if the bytes are no IPv6 packet.
  ///
  /// - Parameter bytes: The packet; padding may follow.
  @inlinable
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard bytes.byteCount >= 40 else { return nil }
    payloadLength = Int(bytes.uint16(at: 4))
    let packet = bytes.extracting(first: 40 &+ payloadLength)
    let layout = unsafe packet.layout { bytes -> IPv6Layout? in
      var layout = unsafe IPv6Layout(bytes, at: 0)
      unsafe layout?.skipExtensions(in: bytes)
      return layout
    }
    guard let layout, !layout.isCut, layout.end <= packet.byteCount else { return nil }
    headerLength = layout.end
    nextProtocol = IPProtocol(rawValue: layout.next)
    isFragment = layout.isFragment
    self.bytes = packet
  }

  /// Whether the bytes end before the packet, as in the first slot of a packet that takes several
  /// slots.
  @inlinable
  public var isTruncated: Bool { 40 &+ payloadLength > bytes.byteCount }

  /// The traffic class: 6 bits of differentiated services code point, and 2 bits of explicit
  /// congestion notification.
  @inlinable
  public var trafficClass: UInt8 { UInt8(truncatingIfNeeded: bytes.uint16(at: 0) >> 4) }

  /// The number that all packets of one flow carry, 1 to 0xfffff; 0 if the sender assigns none.
  @inlinable
  public var flowLabel: UInt32 { bytes.uint32(at: 0) & 0xf_ffff }

  /// The number of routers that may still forward the packet.
  @inlinable
  public var hopLimit: UInt8 { bytes[7] }

  /// The host that sent the packet.
  @inlinable
  public var source: IPv6Address { bytes.ipv6Address(at: 8) }

  /// The host to which the packet goes.
  @inlinable
  public var destination: IPv6Address { bytes.ipv6Address(at: 24) }

  /// The bytes behind the extension headers, without padding.
  @inlinable
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: headerLength) }
  }

  /// Whether the checksum of the TCP, UDP or ICMPv6 payload is valid.
  ///
  /// False for other protocols, UDP datagrams without a checksum, fragments, and truncated or
  /// malformed packets. Also false for a packet with a routing header until it reaches its last
  /// destination, whose address the checksum covers.
  @inlinable
  public var isPayloadChecksumValid: Bool {
    guard !isFragment, !isTruncated else { return false }
    return TransportChecksum(payload, nextProtocol, addresses: bytes.extracting(8..<40))?.isValid
      ?? false
  }

  /// The UDP datagram in the packet; nil if there is no valid one, and in all fragments.
  @inlinable
  public var udp: UDPDatagram? {
    @_lifetime(copy self)
    get {
      guard nextProtocol == .udp, !isFragment else { return nil }
      return UDPDatagram(payload)
    }
  }

  /// The TCP segment in the packet; nil if there is no valid one, and in all fragments.
  @inlinable
  public var tcp: TCPSegment? {
    @_lifetime(copy self)
    get {
      guard nextProtocol == .tcp, !isFragment else { return nil }
      return TCPSegment(payload)
    }
  }

  /// The ICMPv6 message in the packet; nil if there is no valid one, and in all fragments.
  @inlinable
  public var icmp: ICMPMessage? {
    @_lifetime(copy self)
    get {
      guard nextProtocol == .icmpv6, !isFragment else { return nil }
      return ICMPMessage(payload)
    }
  }
}
