/// The virtio-net header before a frame, which says what the sender has left to the receiver
/// (virtio specification, 5.1.6; `struct nm_vnet_hdr`).
///
/// The fields are in host byte order. A header has 10 bytes, or 12 with the number of buffers,
/// which is not used here.
struct VirtioHeader {
  /// Bytes 0...7; bytes 8 and 9 are in `high`.
  private let low: UInt64
  private let high: UInt16

  /// The number of bytes that are read of a header.
  static let shortest = 10

  static func isLength(_ length: Int) -> Bool { length == 10 || length == 12 }

  /// A header that requests nothing.
  static let empty = VirtioHeader(low: 0, high: 0)

  private init(low: UInt64, high: UInt16) {
    self.low = low
    self.high = high
  }

  /// Reads a header once, because its sender may still write to it.
  ///
  /// - Parameter bytes: At least 10 bytes.
  init(reading bytes: UnsafeRawPointer) {
    unsafe low = bytes.loadUnaligned(as: UInt64.self)
    unsafe high = bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)
  }

  /// Writes the header.
  ///
  /// - Parameters:
  ///   - bytes: The destination.
  ///   - length: 10, or 12: then the last two bytes are 0.
  func write(to bytes: UnsafeMutableRawPointer, _ length: Int) {
    unsafe bytes.storeBytes(of: low, as: UInt64.self)
    unsafe bytes.storeBytes(of: high, toByteOffset: 8, as: UInt16.self)
    if length == 12 { unsafe bytes.storeBytes(of: 0, toByteOffset: 10, as: UInt16.self) }
  }

  private var flags: UInt8 { UInt8(truncatingIfNeeded: low) }
  private var type: UInt8 { UInt8(truncatingIfNeeded: low >> 8) & 0x7f }

  /// Whether all fields have known values.
  var isSane: Bool { (type <= 1 || type == 3 || type == 4) && flags & ~3 == 0 }

  /// The checksum to complete: the first byte of the frame that it covers, and the offset of its
  /// field; nil when the header requests none.
  ///
  /// The field already holds the sum of the pseudo header.
  var checksum: (start: Int, field: Int)? {
    guard flags & 1 != 0 else { return nil }
    let start = Int(UInt16(truncatingIfNeeded: low >> 48))
    return (start, start + Int(high))
  }

  /// The transport protocol of a packet that must be segmented; nil for any other packet.
  var segmented: Segmentation.Transport? {
    switch type {
    case 1, 4: .tcp
    case 3: .udp
    default: nil
    }
  }
}
