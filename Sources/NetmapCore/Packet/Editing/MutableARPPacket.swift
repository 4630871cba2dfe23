/// An ARP packet for IPv4 over Ethernet (RFC 826) to edit in place.
@frozen
public struct MutableARPPacket: ~Copyable, ~Escapable {
  @usableFromInline var bytes: MutableRawSpan

  /// Nil if the packet is too short, or for other protocols than IPv4 over Ethernet.
  ///
  /// - Parameter bytes: The packet; padding may follow.
  @inlinable @inline(__always)
  @_lifetime(&bytes)
  public init?(_ bytes: inout MutableRawSpan) {
    guard let _ = ARPPacket(bytes.bytes) else { return nil }
    self.init(validated: bytes._mutatingExtracting(first: ARPPacket.length))
  }

  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  init(validated bytes: consuming MutableRawSpan) {
    self.bytes = bytes
  }

  /// A read-only view of the packet.
  @inlinable @inline(__always)
  public var view: ARPPacket {
    @_lifetime(borrow self)
    get { ARPPacket(validated: bytes.bytes) }
  }

  /// The purpose of the packet.
  @inlinable
  public var operation: ARPPacket.Operation {
    get { view.operation }
    @_lifetime(self: copy self)
    set { bytes.setUInt16(newValue.rawValue, at: 6) }
  }

  /// The Ethernet address of the sender.
  @inlinable
  public var senderHardwareAddress: MACAddress {
    get { view.senderHardwareAddress }
    @_lifetime(self: copy self)
    set { bytes.setMACAddress(newValue, at: 8) }
  }

  /// The IPv4 address of the sender.
  @inlinable
  public var senderAddress: IPv4Address {
    get { view.senderAddress }
    @_lifetime(self: copy self)
    set { bytes.setUInt32(newValue.rawValue, at: 14) }
  }

  /// The Ethernet address of the target; meaningless in a request.
  @inlinable
  public var targetHardwareAddress: MACAddress {
    get { view.targetHardwareAddress }
    @_lifetime(self: copy self)
    set { bytes.setMACAddress(newValue, at: 18) }
  }

  /// The IPv4 address of the target.
  @inlinable
  public var targetAddress: IPv4Address {
    get { view.targetAddress }
    @_lifetime(self: copy self)
    set { bytes.setUInt32(newValue.rawValue, at: 24) }
  }

  /// Turns a request into its reply: the sender of the request becomes the target.
  ///
  /// - Parameter address: The Ethernet address that the request asks for.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func reply(with address: MACAddress) {
    operation = .reply
    let asked = targetAddress
    targetHardwareAddress = senderHardwareAddress
    targetAddress = senderAddress
    senderHardwareAddress = address
    senderAddress = asked
  }
}
