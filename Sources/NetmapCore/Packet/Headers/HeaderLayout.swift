// The variable parts of headers: where a header ends, and which protocol follows. All parsers of
// headers use these types: the views of this folder, and FlowHeaders on the path of the switch.
//
// Another process may change the bytes meanwhile. So a layout loads each length once, and keeps the
// value that it has validated.

/// Reads fields in network byte order, at offsets that the caller has validated.
///
/// A pointer and not a RawSpan: in functions with performance annotations, the compiler rejects a copy
/// of a RawSpan as reference counting.
@unsafe @frozen @usableFromInline
struct HeaderReader {
  @usableFromInline let start: UnsafeRawPointer
  @usableFromInline let length: Int

  @inlinable @inline(__always)
  init(_ start: UnsafeRawPointer, _ length: Int) {
    unsafe self.start = unsafe start
    unsafe self.length = length
  }

  /// Whether there are `count` bytes from `offset` on.
  @inlinable @inline(__always)
  func has(_ count: Int, at offset: Int) -> Bool { unsafe offset <= length &- count }

  @inlinable @inline(__always)
  func byte(_ offset: Int) -> UInt8 { unsafe start.load(fromByteOffset: offset, as: UInt8.self) }

  @inlinable @inline(__always)
  func uint16(_ offset: Int) -> UInt16 {
    UInt16(bigEndian: unsafe start.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  @inlinable @inline(__always)
  func uint32(_ offset: Int) -> UInt32 {
    UInt32(bigEndian: unsafe start.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  @inlinable @inline(__always)
  func uint64(_ offset: Int) -> UInt64 {
    UInt64(bigEndian: unsafe start.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
}

extension RawSpan {
  /// Passes the bytes to `parse`; nil if there are none.
  @inlinable @inline(__always)
  func layout<Layout>(_ parse: (HeaderReader) -> Layout?) -> Layout? {
    unsafe withUnsafeBytes { buffer in
      guard let start = buffer.baseAddress else { return nil }
      return unsafe parse(HeaderReader(start, buffer.count))
    }
  }
}

/// The Ethernet header at the beginning of a frame, with up to two VLAN tags.
@frozen @usableFromInline
struct EthernetLayout {
  /// The EtherType behind the VLAN tags.
  @usableFromInline let etherType: UInt16
  /// Bytes of the header: 14, 18 or 22.
  @usableFromInline let length: Int

  /// Nil if the frame ends before the payload.
  @inlinable @inline(__always)
  init?(_ bytes: HeaderReader) {
    guard unsafe bytes.length >= 14 else { return nil }
    var type = unsafe bytes.uint16(12)
    var offset = 14
    for _ in 0..<2 where type == 0x8100 || type == 0x88a8 {
      guard unsafe bytes.has(4, at: offset) else { return nil }
      type = unsafe bytes.uint16(offset &+ 2)
      offset &+= 4
    }
    etherType = type
    length = offset
  }
}

/// An IPv4 header.
@frozen @usableFromInline
struct IPv4Layout {
  /// Bytes of the header, 20 to 60. The bytes contain all of it.
  @usableFromInline let length: Int

  /// Nil if there is no complete IPv4 header at `start`.
  @inlinable @inline(__always)
  init?(_ bytes: HeaderReader, at start: Int) {
    guard unsafe bytes.has(20, at: start) else { return nil }
    // Version 4, and at least five 32-bit words.
    let first = unsafe bytes.byte(start)
    guard 0x45...0x4f ~= first else { return nil }
    length = Int(first & 15) &* 4
    guard unsafe bytes.has(length, at: start) else { return nil }
  }
}

/// The lengths in an IPv4 header.
@frozen @usableFromInline
struct IPv4Lengths {
  /// Bytes of the header, 20 to 60. The bytes contain all of it.
  @usableFromInline let header: Int
  /// Bytes of the packet, `header` to 65535. The bytes may end before.
  @usableFromInline let total: Int

  /// Nil if there is no complete IPv4 header, or if the packet is shorter than its header.
  @inlinable @inline(__always)
  init?(_ bytes: HeaderReader) {
    guard let layout = unsafe IPv4Layout(bytes, at: 0) else { return nil }
    header = layout.length
    total = unsafe Int(bytes.uint16(2))
    guard total >= header else { return nil }
  }
}

/// An IPv6 header, and the extension headers that ``skipExtensions(in:)`` has skipped.
@frozen @usableFromInline
struct IPv6Layout {
  /// The protocol of the next header: an extension header or the payload.
  @usableFromInline var next: UInt8
  /// The offset of the next header, which may lie behind the end of the bytes.
  @usableFromInline var end: Int
  /// Whether an extension header says that the packet is a fragment.
  @usableFromInline var isFragment = false
  /// Whether the bytes end before an extension header or within its first 8 bytes.
  @usableFromInline var isCut = false

  /// Nil if there is no complete IPv6 header at `start`.
  @inlinable @inline(__always)
  init?(_ bytes: HeaderReader, at start: Int) {
    guard unsafe bytes.has(40, at: start), unsafe bytes.byte(start) >> 4 == 6 else { return nil }
    next = unsafe bytes.byte(start &+ 6)
    end = start &+ 40
  }

  /// Skips up to eight extension headers.
  @inlinable @inline(__always)
  mutating func skipExtensions(in bytes: HeaderReader) {
    // RFC 8200: hop-by-hop 0, routing 43, fragment 44, authentication 51, destination options 60.
    for _ in 0..<8 {
      guard next == 0 || next == 43 || next == 44 || next == 51 || next == 60 else { break }
      guard unsafe bytes.has(8, at: end) else {
        isCut = true
        break
      }
      let length = unsafe Int(bytes.byte(end &+ 1))
      let kind = next
      next = unsafe bytes.byte(end)
      switch kind {
      case 44:
        // An offset, or the flag that more fragments follow.
        if unsafe bytes.uint16(end &+ 2) & 0xfff9 != 0 { isFragment = true }
        end &+= 8
      case 51: end &+= (length &+ 2) &* 4
      default: end &+= (length &+ 1) &* 8
      }
    }
  }
}
