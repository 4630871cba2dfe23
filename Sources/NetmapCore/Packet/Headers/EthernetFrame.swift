/// A view of an Ethernet frame.
///
/// The views of headers never trap and never read past the end, whatever a packet contains. If
/// another process changes the bytes meanwhile, fields change, but lengths and offsets that a view
/// has validated do not.
@frozen
public struct EthernetFrame: ~Escapable {
  /// The frame.
  public let bytes: RawSpan
  /// The protocol of the payload, behind up to two VLAN tags.
  public let etherType: EtherType
  /// Bytes of the header: 14, and 4 more for each VLAN tag.
  public let headerLength: Int

  /// Nil if the frame ends within its header or within a VLAN tag.
  ///
  /// - Parameter bytes: The frame, without a virtio header and without the frame check sequence.
  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard let layout = unsafe bytes.layout({ unsafe EthernetLayout($0) }) else { return nil }
    self.bytes = bytes
    etherType = EtherType(rawValue: layout.etherType)
    headerLength = layout.length
  }

  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  init(validated bytes: RawSpan, etherType: EtherType, headerLength: Int) {
    self.bytes = bytes
    self.etherType = etherType
    self.headerLength = headerLength
  }

  /// The station to which the frame goes.
  @inlinable
  public var destination: MACAddress { bytes.macAddress(at: 0) }

  /// The station that sent the frame.
  @inlinable
  public var source: MACAddress { bytes.macAddress(at: 6) }

  /// The outer VLAN tag; nil if the frame has none.
  @inlinable
  public var vlan: VLANTag? {
    headerLength >= 18 ? VLANTag(rawValue: bytes.uint16(at: 14)) : nil
  }

  /// The inner VLAN tag; nil if the frame has fewer than two.
  @inlinable
  public var innerVLAN: VLANTag? {
    headerLength >= 22 ? VLANTag(rawValue: bytes.uint16(at: 18)) : nil
  }

  /// The bytes behind the header, padding included.
  @inlinable @inline(__always)
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: headerLength) }
  }

  /// The ARP packet in the frame; nil if the frame contains no valid one.
  @inlinable @inline(__always)
  public var arp: ARPPacket? {
    @_lifetime(copy self)
    get {
      guard etherType == .arp else { return nil }
      return ARPPacket(payload)
    }
  }

  /// The IPv4 packet in the frame; nil if the frame contains no valid one.
  @inlinable @inline(__always)
  public var ipv4: IPv4Packet? {
    @_lifetime(copy self)
    get {
      guard etherType == .ipv4 else { return nil }
      return IPv4Packet(payload)
    }
  }

  /// The IPv6 packet in the frame; nil if the frame contains no valid one.
  @inlinable
  public var ipv6: IPv6Packet? {
    @_lifetime(copy self)
    get {
      guard etherType == .ipv6 else { return nil }
      return IPv6Packet(payload)
    }
  }
}
