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
  ///   - bytes: The frame.
  ///   - length: Bytes that may be read.
  init(_ bytes: UnsafeRawPointer, _ length: Int) {
    guard length >= 14 else { return }
    let reader = unsafe HeaderReader(bytes: bytes, length: length)
    var type = unsafe reader.uint16(12)
    var offset = 14
    for _ in 0..<2 where type == 0x8100 || type == 0x88a8 {
      guard unsafe reader.has(offset, 4) else { return }
      type = unsafe reader.uint16(offset &+ 2)
      offset &+= 4
    }
    etherType = type
    switch type {
    case 0x0800: unsafe readIPv4(reader, offset)
    case 0x86dd: unsafe readIPv6(reader, offset)
    default: break
    }
  }

  private mutating func readIPv4(_ reader: HeaderReader, _ start: Int) {
    guard unsafe reader.has(start, 20), unsafe reader.byte(start) >> 4 == 4 else { return }
    let length = unsafe Int(reader.byte(start) & 15) &* 4
    guard length >= 20, unsafe reader.has(start, length) else { return }
    family = .ipv4
    protocolNumber = unsafe reader.byte(start &+ 9)
    source.low = unsafe UInt64(reader.uint32(start &+ 12))
    destination.low = unsafe UInt64(reader.uint32(start &+ 16))
    // The more-fragments flag, or a fragment offset.
    isFragment = unsafe reader.uint16(start &+ 6) & 0x3fff != 0
    unsafe readPorts(reader, start &+ length)
  }

  private mutating func readIPv6(_ reader: HeaderReader, _ start: Int) {
    guard unsafe reader.has(start, 40), unsafe reader.byte(start) >> 4 == 6 else { return }
    family = .ipv6
    source = unsafe reader.address(start &+ 8)
    destination = unsafe reader.address(start &+ 24)
    var next = unsafe reader.byte(start &+ 6)
    var offset = start &+ 40
    // RFC 8200: hop-by-hop 0, routing 43, fragment 44, authentication 51, destination options 60.
    for _ in 0..<8 {
      let isExtension = next == 0 || next == 43 || next == 44 || next == 51 || next == 60
      guard isExtension, unsafe reader.has(offset, 8) else { break }
      let length = unsafe Int(reader.byte(offset &+ 1))
      let kind = next
      next = unsafe reader.byte(offset)
      switch kind {
      case 44:
        if unsafe reader.uint16(offset &+ 2) & 0xfff9 != 0 { isFragment = true }
        offset &+= 8
      case 51: offset &+= (length &+ 2) &* 4
      default: offset &+= (length &+ 1) &* 8
      }
    }
    protocolNumber = next
    unsafe readPorts(reader, offset)
  }

  private mutating func readPorts(_ reader: HeaderReader, _ offset: Int) {
    let isKnown = protocolNumber == 6 || protocolNumber == 17 || protocolNumber == 132
    guard !isFragment, isKnown, unsafe reader.has(offset, 4) else { return }
    hasPorts = true
    sourcePort = unsafe reader.uint16(offset)
    destinationPort = unsafe reader.uint16(offset &+ 2)
  }
}

/// Reads fields in network byte order.
@unsafe
private struct HeaderReader {
  let bytes: UnsafeRawPointer
  let length: Int

  func has(_ offset: Int, _ count: Int) -> Bool { unsafe offset <= length &- count }

  func byte(_ offset: Int) -> UInt8 { unsafe bytes.load(fromByteOffset: offset, as: UInt8.self) }

  func uint16(_ offset: Int) -> UInt16 {
    unsafe UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  func uint32(_ offset: Int) -> UInt32 {
    unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  func address(_ offset: Int) -> FlowAddress {
    unsafe FlowAddress(
      high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
      low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)))
  }
}
