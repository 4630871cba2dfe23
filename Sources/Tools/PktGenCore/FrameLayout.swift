package import Netmap

/// The offsets of the fields in a frame that begins with an Ethernet header; it also builds such frames.
package struct FrameLayout: Hashable, Sendable {
  package let family: Family

  package static let ethernetLength = 14
  static let udpLength = 8

  package init(_ family: Family) {
    self.family = family
  }

  var sourceAddress: Int { Self.ethernetLength + (family == .ipv4 ? 12 : 8) }
  var destinationAddress: Int { sourceAddress + family.addressLength }
  /// IPv4 only: the IPv6 header has no checksum.
  var headerChecksum: Int { Self.ethernetLength + 10 }
  var udp: Int { Self.ethernetLength + family.headerLength }
  var udpChecksum: Int { udp + 6 }
  /// Offset of the payload: 42 or 62.
  package var payload: Int { udp + Self.udpLength }

  /// Builds a UDP frame of `size` bytes, but at least its headers.
  ///
  /// The caller truncates a frame that is too long. The first `stamp` bytes of the payload are zero, for the
  /// caller to fill in.
  package func frame(
    size: Int, from source: AddressRange, _ sourceMAC: MACAddress, to destination: AddressRange,
    _ destinationMAC: MACAddress, banner: String, stamp: Int = 0
  ) -> [UInt8] {
    let payloadLength = max(stamp, size - payload)
    var frame = destinationMAC.bytes + sourceMAC.bytes
    frame += networkHeader(payloadLength, source, destination)
    frame += words(source.ports.lowerBound, destination.ports.lowerBound)
    frame += words(UInt16(clamping: Self.udpLength + payloadLength), 0)
    let text = Array(banner.utf8)
    frame += (0..<payloadLength).map { index in
      index < stamp || index == payloadLength - 1 ? 0 : text[index % text.count]
    }
    let length = frame.count
    unsafe frame.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe finishChecksums(start, length)
    }
    return frame
  }

  private func networkHeader(
    _ payloadLength: Int, _ source: AddressRange, _ destination: AddressRange
  ) -> [UInt8] {
    let length = Self.udpLength + payloadLength
    switch family {
    case .ipv4:
      // Version and header length, ToS low delay; length; id 0; don't fragment; TTL 64; UDP.
      return [0x08, 0x00, 0x45, 0x10] + words(UInt16(clamping: length + 20), 0, 0x4000)
        + [64, 17, 0, 0] + source.first + destination.first
    case .ipv6:
      return [0x86, 0xdd, 0x60, 0, 0, 0] + words(UInt16(clamping: length)) + [17, 64]
        + source.first + destination.first
    }
  }

  /// Writes the length fields for a frame of `size` bytes, and recomputes both checksums.
  ///
  /// - Parameters:
  ///   - frame: A frame of this layout.
  ///   - size: At most the length of the frame. The headers are the minimum.
  @unsafe
  func resize(_ frame: UnsafeMutableRawPointer, to size: Int) {
    let length = max(size, payload)
    unsafe put(
      frame, Self.ethernetLength + (family == .ipv4 ? 2 : 4),
      UInt16(clamping: family == .ipv4 ? length - Self.ethernetLength : length - udp))
    unsafe put(frame, udp + 4, UInt16(clamping: length - udp))
    unsafe finishChecksums(frame, length)
  }

  private func finishChecksums(_ frame: UnsafeMutableRawPointer, _ length: Int) {
    let bytes = unsafe RawSpan(_unsafeStart: frame, byteCount: length)
    if family == .ipv4 {
      unsafe put(frame, headerChecksum, 0)
      let header = InternetChecksum(bytes.extracting(Self.ethernetLength..<udp))
      unsafe put(frame, headerChecksum, header.field)
    }
    unsafe put(frame, udpChecksum, 0)
    // The pseudo header: addresses, protocol, length.
    var sum = InternetChecksum(bytes.extracting(sourceAddress..<udp))
    sum.add(UInt16(IPProtocol.udp.rawValue))
    sum.add(UInt32(length - udp))
    sum.add(bytes.extracting(udp..<length))
    unsafe put(frame, udpChecksum, sum.udpField)
  }

  private func put(_ frame: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt16) {
    unsafe frame.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
  }

  private func words(_ words: UInt16...) -> [UInt8] {
    words.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
  }
}
