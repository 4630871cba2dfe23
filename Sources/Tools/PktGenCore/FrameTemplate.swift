/// The packet that a thread sends, in memory of its own: a virtio header, perhaps, and the frame.
///
/// Odometers and sequence numbers change it between packets.
@safe
package final class FrameTemplate {
  /// Copies may round up to whole lines of this size.
  static let line = 64

  private let memory: UnsafeMutableRawPointer

  /// Bytes in front of the frame: 0, 10 or 12, all zero.
  package let virtioLength: Int

  /// Bytes to send, at most: virtio header and frame.
  package let length: Int

  /// Bytes in the template; more than ``length`` when the frame was cut off within its headers.
  private let byteCount: Int

  /// Where things stand in the frame; nil for one that came from a file.
  package let layout: FrameLayout?

  /// The first byte to send.
  @unsafe package var start: UnsafeMutableRawPointer {
    unsafe memory + Self.line - virtioLength
  }

  /// The Ethernet header.
  @unsafe package var frame: UnsafeMutableRawPointer { unsafe memory + Self.line }

  /// Everything in front of the payload, which never changes; all of a frame that came from a file.
  package var headerLength: Int {
    layout.map { min(virtioLength + $0.payload, length) } ?? length
  }

  /// - Parameters:
  ///   - frame: The bytes from the Ethernet header on, at least `size` of them.
  ///   - size: Bytes of the frame to send.
  ///   - virtioLength: Zeros in front of it, at most 12.
  ///   - layout: Where things stand in the frame; nil for one that came from a file.
  package init(_ frame: [UInt8], size: Int, virtioLength: Int, layout: FrameLayout?) {
    precondition(size <= frame.count && virtioLength <= Self.line)
    self.virtioLength = virtioLength
    self.layout = layout
    length = virtioLength + size
    byteCount = frame.count
    // A line in front for the virtio header, and one behind for copies that round up.
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

  /// The frame as it stands, cut off at what is sent.
  package var bytes: [UInt8] {
    unsafe [UInt8](UnsafeRawBufferPointer(start: frame, count: length - virtioLength))
  }

  /// The frame for a run of pkt-gen.
  ///
  /// - Parameters:
  ///   - configuration: Size, addresses and file.
  ///   - sourceMAC: The address of the interface, or what the user gave.
  ///   - stamp: Bytes of the payload that are to be zero.
  /// - Returns: The template.
  /// - Throws: ``Refusal`` when the file cannot be read or an address is none.
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
