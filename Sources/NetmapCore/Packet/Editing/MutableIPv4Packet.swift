/// An IPv4 packet to edit in place.
///
/// The setters update the checksum of the header, and that of a TCP or UDP payload, by the change
/// (RFC 1624): a valid checksum stays valid. A program that changes the ``payload`` calls
/// ``updateChecksums()`` afterwards.
@frozen
public struct MutableIPv4Packet: ~Copyable, ~Escapable {
  @usableFromInline var bytes: MutableRawSpan
  /// Bytes of the header with its options, 20 to 60.
  public let headerLength: Int
  /// Bytes of the packet as its header says, ``headerLength`` to 65535.
  public let totalLength: Int

  /// Nil in the same cases as the initializer of ``IPv4Packet``.
  ///
  /// - Parameter bytes: The packet; padding may follow.
  @inlinable @inline(__always)
  @_lifetime(&bytes)
  public init?(_ bytes: inout MutableRawSpan) {
    guard let lengths = unsafe bytes.bytes.layout({ unsafe IPv4Lengths($0) }) else { return nil }
    self.init(validated: bytes._mutatingExtracting(first: lengths.total), lengths)
  }

  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  init(validated bytes: consuming MutableRawSpan, _ lengths: IPv4Lengths) {
    self.bytes = bytes
    headerLength = lengths.header
    totalLength = lengths.total
  }

  /// A read-only view of the packet.
  @inlinable @inline(__always)
  public var view: IPv4Packet {
    @_lifetime(borrow self)
    get {
      IPv4Packet(validated: bytes.bytes, headerLength: headerLength, totalLength: totalLength)
    }
  }

  /// The bytes behind the header, without padding.
  @inlinable @inline(__always)
  public var payload: MutableRawSpan {
    @_lifetime(&self)
    mutating get { bytes._mutatingExtracting(droppingFirst: headerLength) }
  }

  /// The host that sends the packet.
  @inlinable
  public var source: IPv4Address {
    get { view.source }
    @_lifetime(self: copy self)
    set { setAddress(newValue, at: 12) }
  }

  /// The host to which the packet goes.
  @inlinable
  public var destination: IPv4Address {
    get { view.destination }
    @_lifetime(self: copy self)
    set { setAddress(newValue, at: 16) }
  }

  /// Swaps ``source`` and ``destination``.
  ///
  /// No checksum changes, because a sum does not depend on the order of its terms.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func swapAddresses() {
    let (source, destination) = (bytes.uint32(at: 12), bytes.uint32(at: 16))
    bytes.setUInt32(destination, at: 12)
    bytes.setUInt32(source, at: 16)
  }

  /// Swaps the source and the destination port of a TCP or UDP payload.
  ///
  /// No checksum changes. The packet stays unchanged if it has another protocol, or if it is a later
  /// fragment, which has no ports.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func swapPorts() {
    guard let start = transport, start &+ 4 <= bytes.byteCount else { return }
    let (source, destination) = (bytes.uint16(at: start), bytes.uint16(at: start &+ 2))
    bytes.setUInt16(destination, at: start)
    bytes.setUInt16(source, at: start &+ 2)
  }

  /// The number of routers that may still forward the packet.
  @inlinable
  public var timeToLive: UInt8 {
    get { view.timeToLive }
    @_lifetime(self: copy self)
    set {
      let old = bytes.uint16(at: 8)
      let new = UInt16(newValue) << 8 | old & 0xff
      bytes.setUInt16(new, at: 8)
      var change = ChecksumChange()
      change.replace(old, with: new)
      bytes.setUInt16(change.applied(to: bytes.uint16(at: 10)), at: 10)
    }
  }

  /// Subtracts 1 from ``timeToLive``, as a router does before it forwards the packet.
  ///
  /// - Returns: False if the time to live is 0 or 1. Then a router must not forward the packet, and the
  ///   packet stays unchanged.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func decrementTimeToLive() -> Bool {
    let current = timeToLive
    guard current > 1 else { return false }
    timeToLive = current &- 1
    return true
  }

  /// Computes and writes the checksum of the header, and that of a TCP, UDP or ICMP payload.
  ///
  /// The payload stays unchanged in fragments and truncated packets, which do not contain all bytes
  /// that its checksum covers, and if the headers in it are malformed.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func updateChecksums() {
    bytes.setUInt16(0, at: 10)
    bytes.setUInt16(InternetChecksum(bytes.bytes.extracting(first: headerLength)).field, at: 10)
    guard let offset = payloadChecksum?.offset else { return }
    bytes.setUInt16(0, at: headerLength &+ offset)
    guard let field = payloadChecksum?.field else { return }
    bytes.setUInt16(field, at: headerLength &+ offset)
  }

  /// Nil if the packet does not contain all bytes that the checksum of its payload covers.
  @inlinable
  var payloadChecksum: TransportChecksum? {
    @_lifetime(borrow self)
    get {
      let packet = view
      guard !packet.isFragment, !packet.isTruncated else { return nil }
      return TransportChecksum(
        packet.payload, packet.nextProtocol, addresses: packet.bytes.extracting(12..<20))
    }
  }

  /// The offset of the TCP or UDP header; nil if the packet has none.
  @inlinable @inline(__always)
  var transport: Int? {
    guard bytes.uint16(at: 6) & 0x1fff == 0 else { return nil }
    let next = IPProtocol(rawValue: bytes[9])
    return next == .tcp || next == .udp ? headerLength : nil
  }

  @inlinable
  @_lifetime(self: copy self)
  mutating func setAddress(_ address: IPv4Address, at offset: Int) {
    var change = ChecksumChange()
    change.replace(bytes.uint32(at: offset), with: address.rawValue)
    bytes.setUInt32(address.rawValue, at: offset)
    bytes.setUInt16(change.applied(to: bytes.uint16(at: 10)), at: 10)
    guard let start = transport else { return }
    let isUDP = view.nextProtocol == .udp
    let field = start &+ (isUDP ? 6 : 16)
    guard field &+ 2 <= bytes.byteCount else { return }
    let old = bytes.uint16(at: field)
    bytes.setUInt16(isUDP ? change.applied(toUDP: old) : change.applied(to: old), at: field)
  }
}
