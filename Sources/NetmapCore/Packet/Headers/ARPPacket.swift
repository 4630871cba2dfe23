/// A view of an ARP packet for IPv4 over Ethernet (RFC 826).
@frozen
public struct ARPPacket: ~Escapable {
  /// The purpose of an ARP packet.
  @frozen
  public struct Operation: RawRepresentable, Hashable, Sendable {
    /// The number in the packet.
    public let rawValue: UInt16

    /// The operation with this number.
    @inlinable
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// 1: asks for the Ethernet address of an IPv4 address.
    @inlinable public static var request: Operation { Operation(rawValue: 1) }
    /// 2: answers a request.
    @inlinable public static var reply: Operation { Operation(rawValue: 2) }
  }

  /// Bytes of an ARP packet.
  @inlinable
  public static var length: Int { 28 }

  /// The packet, 28 bytes.
  public let bytes: RawSpan

  /// Nil if the packet is too short, or for other protocols than IPv4 over Ethernet.
  ///
  /// - Parameter bytes: The packet; padding may follow.
  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    // Hardware 1 is Ethernet, with 6 bytes per address; protocol 0x0800 is IPv4, with 4 bytes.
    guard bytes.byteCount >= Self.length, bytes.uint32(at: 0) == 0x0001_0800,
      bytes.uint16(at: 4) == 0x0604
    else { return nil }
    self.bytes = bytes.extracting(first: Self.length)
  }

  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  init(validated bytes: RawSpan) { self.bytes = bytes }

  /// The purpose of the packet.
  @inlinable
  public var operation: Operation { Operation(rawValue: bytes.uint16(at: 6)) }

  /// The Ethernet address of the sender.
  @inlinable
  public var senderHardwareAddress: MACAddress { bytes.macAddress(at: 8) }

  /// The IPv4 address of the sender.
  @inlinable
  public var senderAddress: IPv4Address { bytes.ipv4Address(at: 14) }

  /// The Ethernet address of the target; meaningless in a request.
  @inlinable
  public var targetHardwareAddress: MACAddress { bytes.macAddress(at: 18) }

  /// The IPv4 address of the target: in a request, the address in question.
  @inlinable
  public var targetAddress: IPv4Address { bytes.ipv4Address(at: 24) }
}
