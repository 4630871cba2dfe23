internal import Glibc

/// Writes a template's packet into buffers, and modifies it between packets.
///
/// Plain data: the template must outlive the writer.
@unsafe
struct PacketWriter {
  /// The packet with its virtio header.
  let packet: UnsafeMutableRawPointer
  private let frame: UnsafeMutableRawPointer
  private let longest: Int
  private let headerLength: Int
  /// Whether to write the payload too, which is the same in every packet.
  private let writesAll: Bool
  /// Whether to copy whole cache lines, which is faster than exact lengths.
  private let copiesLines: Bool
  private let layout: FrameLayout
  private let updatesLength: Bool
  private let varies: Bool
  private var odometer: AddressOdometer

  /// The writer for a run.
  ///
  /// It copies whole cache lines only if buffers consist of whole lines.
  init(
    _ template: FrameTemplate, _ configuration: Configuration, bufferSize: Int, seed: UInt64
  ) {
    unsafe packet = template.start
    unsafe frame = template.frame
    unsafe longest = template.length
    unsafe headerLength = template.headerLength
    unsafe writesAll = configuration.copiesWholeFrame
    unsafe copiesLines =
      !configuration.options.contains(.memcpy) && bufferSize % FrameTemplate.line == 0
      && template.length <= bufferSize
    unsafe layout = template.layout ?? FrameLayout(configuration.family)
    unsafe updatesLength = template.layout != nil && configuration.updatesLength
    unsafe varies = template.layout != nil && configuration.variesAddresses
    unsafe odometer = AddressOdometer(
      layout, configuration.source, configuration.destination, configuration.options, seed: seed)
  }

  /// Updates the headers' length fields, if the configuration requires that.
  @inline(__always)
  func resize(to length: Int) {
    if unsafe updatesLength { unsafe layout.resize(frame, to: length - (frame - packet)) }
  }

  /// Writes the packet.
  ///
  /// If `isKnown`, the buffer already holds it, except for the headers.
  @inline(__always)
  func write(to buffer: UnsafeMutableRawPointer, _ length: Int, isKnown: Bool) {
    let count = unsafe isKnown ? (writesAll ? length : headerLength) : longest
    if unsafe copiesLines {
      var offset = 0
      repeat {
        let line = unsafe packet.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
        unsafe buffer.storeBytes(of: line, toByteOffset: offset, as: SIMD8<UInt64>.self)
        offset &+= FrameTemplate.line
      } while offset < count
    } else {
      unsafe memcpy(buffer, packet, count)
    }
  }

  /// Advances to the next packet.
  @inline(__always)
  mutating func advance() {
    if unsafe varies { unsafe odometer.advance(frame) }
  }
}
