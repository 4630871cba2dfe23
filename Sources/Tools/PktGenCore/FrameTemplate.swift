internal import Netmap

/// The packet that a thread sends, in private memory: an optional virtio header, and the frame.
///
/// Odometers and sequence numbers modify the template between packets.
@safe
package final class FrameTemplate {
  /// Copies may round up to a multiple of this cache line size.
  static let line = 64

  private let memory: UnsafeMutableRawPointer

  /// Bytes before the frame: 0, 10 or 12, all zero.
  package let virtioLength: Int

  /// Number of bytes to send: virtio header and frame.
  package let length: Int

  /// Bytes in the template; more than ``length`` when the frame is truncated within its headers.
  private let byteCount: Int

  /// The offsets of the frame's fields; nil for a frame from a file.
  package let layout: FrameLayout?

  /// The first byte to send.
  @unsafe package var start: UnsafeMutableRawPointer {
    unsafe memory + Self.line - virtioLength
  }

  /// The Ethernet header.
  @unsafe package var frame: UnsafeMutableRawPointer { unsafe memory + Self.line }

  /// Bytes of the headers, before the payload, which never changes; all bytes of a frame from a
  /// file.
  package var headerLength: Int {
    layout.map { min(virtioLength + $0.payload, length) } ?? length
  }

  /// - Parameters:
  ///   - frame: The frame from its Ethernet header on, at least `size` bytes.
  ///   - size: Number of bytes of the frame to send.
  ///   - virtioLength: Number of zero bytes before it, at most 12.
  ///   - layout: The offsets of the frame's fields; nil for a frame from a file.
  package init(_ frame: [UInt8], size: Int, virtioLength: Int, layout: FrameLayout?) {
    precondition(size <= frame.count && virtioLength <= Self.line)
    self.virtioLength = virtioLength
    self.layout = layout
    length = virtioLength + size
    byteCount = frame.count
    // One cache line before the frame for the virtio header, and one after it for copies that round
    // up.
    let capacity = frame.count + 3 * Self.line
    unsafe memory = .allocate(byteCount: capacity, alignment: Self.line)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
    unsafe frame.withUnsafeBytes { bytes in
      guard let source = bytes.baseAddress else { return }
      unsafe (memory + Self.line).copyMemory(from: source, byteCount: bytes.count)
    }
  }

  deinit {
    unsafe memory.deallocate()
  }

  /// The frame in its current state, truncated to the bytes that are sent.
  package var bytes: [UInt8] {
    unsafe [UInt8](UnsafeRawBufferPointer(start: frame, count: length - virtioLength))
  }

  /// Makes the template for a run of pkt-gen.
  ///
  /// - Parameters:
  ///   - configuration: Size, addresses and file.
  ///   - sourceMAC: The user's source MAC address, or the interface's.
  ///   - stamp: Number of bytes at the start of the payload to set to zero.
  /// - Returns: The template.
  /// - Throws: ``Refusal`` when the file cannot be read or an address is invalid.
  package static func make(
    for configuration: Configuration, sourceMAC: String, stamp: Int = 0
  ) throws(Refusal) -> FrameTemplate {
    if let path = configuration.packetFile {
      let packet = try PacketFile.firstPacket(of: path)
      return FrameTemplate(packet, size: packet.count, virtioLength: 0, layout: nil)
    }
    guard let from = MACAddress(sourceMAC) else {
      throw .usage("invalid MAC address '\(sourceMAC)'")
    }
    guard let to = MACAddress(configuration.destinationMACText) else {
      throw .usage("invalid MAC address '\(configuration.destinationMACText)'")
    }
    let kind = configuration.options.contains(.indirect) ? "INDIRECT" : "DIRECT"
    let layout = FrameLayout(configuration.family)
    let frame = layout.frame(
      size: configuration.size, from: configuration.source, from, to: configuration.destination, to,
      banner: "swift-netmap pkt-gen \(kind) payload\n", stamp: stamp)
    return FrameTemplate(
      frame, size: configuration.size, virtioLength: configuration.virtioHeaderLength,
      layout: layout)
  }
}
