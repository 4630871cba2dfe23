/// An IPv4 or IPv6 address as a number: an IPv4 address is in the low 32 bits.
public struct FlowAddress: Hashable, Sendable {
  public var high: UInt64 = 0
  public var low: UInt64 = 0

  public init(high: UInt64 = 0, low: UInt64 = 0) {
    self.high = high
    self.low = low
  }
}

/// The flow that a frame belongs to, as its headers describe it.
///
/// Up to two VLAN tags are skipped, and so are IPv6 extension headers. Truncated or malformed
/// headers count as absent.
public struct FlowHeaders: Hashable, Sendable {
  public enum Family: UInt8, Hashable, Sendable {
    case other = 0
    case ipv4 = 4
    case ipv6 = 6
  }

  /// The EtherType behind the VLAN tags; 0 when the frame ends before it.
  public var etherType: UInt16 = 0
  public var family = Family.other
  /// The transport protocol of an IP packet; 0 for other frames.
  public var protocolNumber: UInt8 = 0
  public var source = FlowAddress()
  public var destination = FlowAddress()
  /// Whether the frame carries a fragment of an IP packet.
  ///
  /// Fragments have no ports here, not even the first one, so that all of them are handled alike.
  public var isFragment = false
  /// Whether ``sourcePort`` and ``destinationPort`` are valid: for TCP, UDP and SCTP.
  public var hasPorts = false
  public var sourcePort: UInt16 = 0
  public var destinationPort: UInt16 = 0

  public init() {}

  /// - Parameters:
  ///   - start: The frame.
  ///   - length: Bytes that may be read.
  init(_ start: UnsafeRawPointer, _ length: Int) {
    let bytes = unsafe HeaderReader(start, length)
    guard let ethernet = unsafe EthernetLayout(bytes) else { return }
    etherType = ethernet.etherType
    let transport: Int
    switch etherType {
    case 0x0800:
      guard let header = unsafe IPv4Layout(bytes, at: ethernet.length) else { return }
      unsafe readIPv4(bytes, ethernet.length)
      transport = ethernet.length &+ header.length
    case 0x86dd:
      guard var header = unsafe IPv6Layout(bytes, at: ethernet.length) else { return }
      unsafe readIPv6(bytes, ethernet.length)
      unsafe header.skipExtensions(in: bytes)
      isFragment = header.isFragment
      protocolNumber = header.next
      transport = header.end
    default: return
    }
    // One call for both families: two would cost more instructions.
    unsafe readPorts(bytes, transport)
  }

  private mutating func readIPv4(_ bytes: HeaderReader, _ start: Int) {
    family = .ipv4
    protocolNumber = unsafe bytes.byte(start &+ 9)
    source.low = unsafe UInt64(bytes.uint32(start &+ 12))
    destination.low = unsafe UInt64(bytes.uint32(start &+ 16))
    // The more-fragments flag, or a fragment offset.
    isFragment = unsafe bytes.uint16(start &+ 6) & 0x3fff != 0
  }

  private mutating func readIPv6(_ bytes: HeaderReader, _ start: Int) {
    family = .ipv6
    source = unsafe Self.address(bytes, start &+ 8)
    destination = unsafe Self.address(bytes, start &+ 24)
  }

  private mutating func readPorts(_ bytes: HeaderReader, _ offset: Int) {
    let isKnown = protocolNumber == 6 || protocolNumber == 17 || protocolNumber == 132
    guard !isFragment, isKnown, unsafe bytes.has(4, at: offset) else { return }
    hasPorts = true
    sourcePort = unsafe bytes.uint16(offset)
    destinationPort = unsafe bytes.uint16(offset &+ 2)
  }

  @unsafe
  private static func address(_ bytes: HeaderReader, _ offset: Int) -> FlowAddress {
    unsafe FlowAddress(high: bytes.uint64(offset), low: bytes.uint64(offset &+ 8))
  }
}
