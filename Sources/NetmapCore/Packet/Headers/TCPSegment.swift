/// A view of a TCP segment (RFC 9293).
@frozen
public struct TCPSegment: ~Escapable {
  /// The control bits of a segment.
  @frozen
  public struct Flags: OptionSet, Hashable, Sendable {
    /// The bits in the header.
    public let rawValue: UInt8

    /// The flags with these bits.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The sender has no more data.
    @inlinable public static var fin: Flags { Flags(rawValue: 0x01) }
    /// Opens a connection.
    @inlinable public static var syn: Flags { Flags(rawValue: 0x02) }
    /// Resets the connection.
    @inlinable public static var rst: Flags { Flags(rawValue: 0x04) }
    /// The receiver should pass the data on without delay.
    @inlinable public static var psh: Flags { Flags(rawValue: 0x08) }
    /// ``TCPSegment/acknowledgment`` is valid.
    @inlinable public static var ack: Flags { Flags(rawValue: 0x10) }
    /// ``TCPSegment/urgentPointer`` is valid.
    @inlinable public static var urg: Flags { Flags(rawValue: 0x20) }
    /// The receiver has seen congestion.
    @inlinable public static var ece: Flags { Flags(rawValue: 0x40) }
    /// The sender has reduced its congestion window.
    @inlinable public static var cwr: Flags { Flags(rawValue: 0x80) }
  }

  /// The segment.
  public let bytes: RawSpan
  /// Bytes of the header with its options, 20 to 60: where the payload begins.
  public let dataOffset: Int

  /// Nil if the header is incomplete, or states a length below 20.
  ///
  /// - Parameter bytes: The payload of an IP packet.
  @inlinable @inline(__always)
  @_lifetime(copy bytes)
  public init?(_ bytes: RawSpan) {
    guard bytes.byteCount >= 20 else { return nil }
    dataOffset = Int(bytes[12] >> 4) &* 4
    guard dataOffset >= 20, bytes.byteCount >= dataOffset else { return nil }
    self.bytes = bytes
  }

  /// The port of the sender.
  @inlinable
  public var sourcePort: UInt16 { bytes.uint16(at: 0) }

  /// The port to which the segment goes.
  @inlinable
  public var destinationPort: UInt16 { bytes.uint16(at: 2) }

  /// The number of the first byte of the payload, or of the SYN.
  @inlinable
  public var sequence: UInt32 { bytes.uint32(at: 4) }

  /// The number of the next byte that the sender expects.
  @inlinable
  public var acknowledgment: UInt32 { bytes.uint32(at: 8) }

  /// The control bits.
  @inlinable
  public var flags: Flags { Flags(rawValue: bytes[13]) }

  /// The receive window, not scaled.
  @inlinable
  public var window: UInt16 { bytes.uint16(at: 14) }

  /// The checksum. It also covers the IP addresses, so the view of the IP packet checks it.
  @inlinable
  public var checksum: UInt16 { bytes.uint16(at: 16) }

  /// The offset of the end of the urgent data from ``sequence``.
  @inlinable
  public var urgentPointer: UInt16 { bytes.uint16(at: 18) }

  /// The options, 0 to 40 bytes.
  @inlinable
  public var options: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(20..<dataOffset) }
  }

  /// The bytes behind the header.
  @inlinable @inline(__always)
  public var payload: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(droppingFirst: dataOffset) }
  }
}
