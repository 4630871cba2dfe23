/// An Ethernet frame to edit in place.
///
///     guard var frame = MutableEthernetFrame(&bytes) else { return }
///     frame.swapAddresses()
///     if var packet = frame.ipv4 { packet.swapAddresses() }
@frozen
public struct MutableEthernetFrame: ~Copyable, ~Escapable {
  @usableFromInline var bytes: MutableRawSpan
  /// The protocol of the payload, behind up to two VLAN tags.
  public let etherType: EtherType
  /// Bytes of the header: 14, and 4 more for each VLAN tag.
  public let headerLength: Int

  /// Nil if the frame ends within its header or within a VLAN tag.
  ///
  /// - Parameter bytes: The frame, without a virtio header and without the frame check sequence.
  @inlinable @inline(__always)
  @_lifetime(&bytes)
  public init?(_ bytes: inout MutableRawSpan) {
    guard let layout = unsafe bytes.bytes.layout({ unsafe EthernetLayout($0) }) else {
      return nil
    }
    etherType = EtherType(rawValue: layout.etherType)
    headerLength = layout.length
    self.bytes = bytes._mutatingExtracting(...)
  }

  /// A read-only view of the frame.
  @inlinable @inline(__always)
  public var view: EthernetFrame {
    @_lifetime(borrow self)
    get {
      EthernetFrame(validated: bytes.bytes, etherType: etherType, headerLength: headerLength)
    }
  }

  /// The station to which the frame goes.
  @inlinable
  public var destination: MACAddress {
    get { bytes.bytes.macAddress(at: 0) }
    @_lifetime(self: copy self)
    set { bytes.setMACAddress(newValue, at: 0) }
  }

  /// The station that sends the frame.
  @inlinable
  public var source: MACAddress {
    get { bytes.bytes.macAddress(at: 6) }
    @_lifetime(self: copy self)
    set { bytes.setMACAddress(newValue, at: 6) }
  }

  /// Swaps ``source`` and ``destination``.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func swapAddresses() {
    let (destination, source) = (bytes.bytes.macAddress(at: 0), bytes.bytes.macAddress(at: 6))
    bytes.setMACAddress(source, at: 0)
    bytes.setMACAddress(destination, at: 6)
  }

  /// The bytes behind the header, padding included.
  @inlinable @inline(__always)
  public var payload: MutableRawSpan {
    @_lifetime(&self)
    mutating get { bytes._mutatingExtracting(droppingFirst: headerLength) }
  }

  /// The ARP packet in the frame; nil if the frame contains no valid one.
  @inlinable @inline(__always)
  public var arp: MutableARPPacket? {
    @_lifetime(&self)
    mutating get {
      guard etherType == .arp else { return nil }
      guard let _ = ARPPacket(bytes.bytes.extracting(droppingFirst: headerLength)) else {
        return nil
      }
      return MutableARPPacket(
        validated: bytes._mutatingExtracting(headerLength..<headerLength &+ ARPPacket.length))
    }
  }

  /// The IPv4 packet in the frame; nil if the frame contains no valid one.
  @inlinable @inline(__always)
  public var ipv4: MutableIPv4Packet? {
    @_lifetime(&self)
    mutating get {
      guard etherType == .ipv4 else { return nil }
      guard
        let lengths = unsafe bytes.bytes.extracting(droppingFirst: headerLength).layout({
          unsafe IPv4Lengths($0)
        })
      else { return nil }
      let end = min(bytes.byteCount, headerLength &+ lengths.total)
      return MutableIPv4Packet(
        validated: bytes._mutatingExtracting(headerLength..<end), lengths)
    }
  }
}
