/// A view of an IPv4 packet (RFC 791).
@frozen
public struct IPv4Packet: ~Escapable {
  /// The packet: ``totalLength`` bytes, or fewer if it ``isTruncated``. Padding is not included.
  public let bytes: RawSpan
  /// Bytes of the header with its options, 20 to 60.
  public let headerLength: Int
  /// Bytes of the packet as its header says, ``headerLength`` to 65535.
  public let totalLength: Int

  /// Nil if the header is incomplete, is not an IPv4 header, or states a length that is shorter than
  /// the header.
  ///
  /// - Parameter bytes: The packet; padding may follow.
  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard let lengths = unsafe bytes.layout({ unsafe IPv4Lengths($0) }) else { return nil }
    headerLength = lengths.header
    totalLength = lengths.total
    self.bytes = bytes.extracting(first: lengths.total)
  }

  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  init(validated bytes: RawSpan, headerLength: Int, totalLength: Int) {
    self.bytes = bytes
    self.headerLength = headerLength
    self.totalLength = totalLength
  }

  /// Whether the bytes end before the packet, as in the first slot of a packet that takes several
  /// slots.
  @inlinable
  public var isTruncated: Bool { totalLength > bytes.byteCount }

  /// The differentiated services code point, 0 to 63.
  @inlinable
  public var dscp: UInt8 { bytes[1] >> 2 }

  /// The explicit congestion notification, 0 to 3.
  @inlinable
  public var ecn: UInt8 { bytes[1] & 3 }

  /// The number that all fragments of one packet carry.
  @inlinable
  public var identification: UInt16 { bytes.uint16(at: 4) }

  /// Whether routers must not fragment the packet.
  @inlinable
  public var dontFragment: Bool { bytes[6] & 0x40 != 0 }

  /// Whether this is a fragment and not the last one.
  @inlinable
  public var moreFragments: Bool { bytes[6] & 0x20 != 0 }

  /// The offset of this fragment's payload in the payload of the whole packet, 0 to 65528 bytes.
  @inlinable
  public var fragmentOffset: Int { Int(bytes.uint16(at: 6) & 0x1fff) &* 8 }

  /// Whether this is a fragment of a packet.
  @inlinable
  public var isFragment: Bool { bytes.uint16(at: 6) & 0x3fff != 0 }

  /// The number of routers that may still forward the packet.
  @inlinable
  public var timeToLive: UInt8 { bytes[8] }

  /// The protocol of the payload.
  @inlinable
  public var nextProtocol: IPProtocol { IPProtocol(rawValue: bytes[9]) }

  /// The checksum of the header.
  @inlinable
  public var checksum: UInt16 { bytes.uint16(at: 10) }

  /// The host that sent the packet.
  @inlinable
  public var source: IPv4Address { bytes.ipv4Address(at: 12) }

  /// The host to which the packet goes.
  @inlinable
  public var destination: IPv4Address { bytes.ipv4Address(at: 16) }

  /// The options, 0 to 40 bytes.
  @inlinable
  public var options: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(20..<headerLength) }
  }

  /// The bytes behind the header, without padding.
  @inlinable @inline(__always)
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: headerLength) }
  }

  /// Whether the checksum of the header is valid.
  @inlinable
  public var isChecksumValid: Bool {
    InternetChecksum(bytes.extracting(first: headerLength)).isValid
  }

  /// Whether the checksum of the TCP, UDP or ICMP payload is valid.
  ///
  /// True for a UDP datagram without a checksum. False for other protocols, fragments, and truncated
  /// or malformed packets.
  @inlinable
  public var isPayloadChecksumValid: Bool {
    guard !isFragment, !isTruncated else { return false }
    return TransportChecksum(payload, nextProtocol, addresses: bytes.extracting(12..<20))?.isValid
      ?? false
  }

  /// The UDP datagram in the packet; nil if there is no valid one, and in all fragments.
  @inlinable @inline(__always)
  public var udp: UDPDatagram? {
    @_lifetime(copy self)
    get {
      guard nextProtocol == .udp, !isFragment else { return nil }
      return UDPDatagram(payload)
    }
  }

  /// The TCP segment in the packet; nil if there is no valid one, and in all fragments.
  @inlinable @inline(__always)
  public var tcp: TCPSegment? {
    @_lifetime(copy self)
    get {
      guard nextProtocol == .tcp, !isFragment else { return nil }
      return TCPSegment(payload)
    }
  }

  /// The ICMP message in the packet; nil if there is no valid one, and in all fragments.
  @inlinable @inline(__always)
  public var icmp: ICMPMessage? {
    @_lifetime(copy self)
    get {
      guard nextProtocol == .icmp, !isFragment else { return nil }
      return ICMPMessage(payload)
    }
  }
}
