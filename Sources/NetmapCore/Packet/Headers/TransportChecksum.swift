/// The bytes that the checksum of a TCP, UDP, ICMP or ICMPv6 payload covers.
@frozen @usableFromInline
struct TransportChecksum: ~Escapable {
  /// The payload without bytes behind a UDP datagram.
  @usableFromInline let covered: RawSpan
  /// The addresses in the IP header, source and destination.
  @usableFromInline let addresses: RawSpan
  @usableFromInline let next: IPProtocol
  /// The offset of the checksum field in the payload.
  @usableFromInline let offset: Int

  /// Nil for other protocols, and if the payload is truncated or malformed.
  ///
  /// - Parameters:
  ///   - payload: The whole payload of an IP packet.
  ///   - next: Its protocol.
  ///   - addresses: The addresses in the IP header: 8 bytes in IPv4, 32 in IPv6.
  @inlinable
  @_lifetime(copy payload, copy addresses)
  init?(_ payload: RawSpan, _ next: IPProtocol, addresses: RawSpan) {
    switch next {
    case .tcp:
      guard let segment = TCPSegment(payload) else { return nil }
      covered = segment.bytes
      offset = 16
    case .udp:
      guard let datagram = UDPDatagram(payload), !datagram.isTruncated else { return nil }
      covered = datagram.bytes
      offset = 6
    case addresses.byteCount == 8 ? .icmp : .icmpv6:
      guard let message = ICMPMessage(payload) else { return nil }
      covered = message.bytes
      offset = 2
    default: return nil
    }
    self.addresses = addresses
    self.next = next
  }

  /// The sum of the payload and the pseudo header.
  @inlinable
  var sum: InternetChecksum {
    var sum = InternetChecksum(covered)
    guard next != .icmp else { return sum }
    // The pseudo header: the addresses, the protocol and the length (RFC 9293, RFC 8200).
    sum.add(addresses)
    sum.add(UInt16(next.rawValue))
    sum.add(UInt16(truncatingIfNeeded: covered.byteCount))
    return sum
  }

  /// Whether the checksum is valid.
  @inlinable
  var isValid: Bool {
    if next == .udp, covered.uint16(at: offset) == 0 { return addresses.byteCount == 8 }
    return sum.isValid
  }

  /// The value of the checksum field, if the field is 0.
  @inlinable
  var field: UInt16 { next == .udp ? sum.udpField : sum.field }
}
