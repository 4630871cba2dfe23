/// What stands before a frame of a port with virtio-net headers: what its sender left undone (the
/// virtio specification, 5.1.6; `struct nm_vnet_hdr`).
///
/// Fields are in the host's byte order. 10 bytes, or 12 with the number of buffers, which is not used here.
struct VirtioHeader {
  /// Bytes 0...9; what is beyond the header's length is 0.
  private let low: UInt64
  private let high: UInt16

  /// Bytes that are read of a header.
  static let shortest = 10

  static func isLength(_ length: Int) -> Bool { length == 10 || length == 12 }

  /// A header that asks for nothing.
  static let empty = VirtioHeader(low: 0, high: 0)

  private init(low: UInt64, high: UInt16) {
    self.low = low
    self.high = high
  }

  /// Reads a header, once: whoever sent it may still write to it.
  ///
  /// - Parameter bytes: At least 10 bytes.
  init(reading bytes: UnsafeRawPointer) {
    unsafe low = bytes.loadUnaligned(as: UInt64.self)
    unsafe high = bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)
  }

  /// Writes the header.
  ///
  /// - Parameters:
  ///   - bytes: Where to.
  ///   - length: 10, or 12: then the last two bytes are 0.
  func write(to bytes: UnsafeMutableRawPointer, _ length: Int) {
    unsafe bytes.storeBytes(of: low, as: UInt64.self)
    unsafe bytes.storeBytes(of: high, toByteOffset: 8, as: UInt16.self)
    if length == 12 { unsafe bytes.storeBytes(of: 0, toByteOffset: 10, as: UInt16.self) }
  }

  private var flags: UInt8 { UInt8(truncatingIfNeeded: low) }
  private var type: UInt8 { UInt8(truncatingIfNeeded: low >> 8) & 0x7f }

  /// Whether the fields have one of the meanings that are known.
  var isSane: Bool { (type <= 1 || type == 3 || type == 4) && flags & ~3 == 0 }

  /// Where to complete a checksum, of which the pseudo header is in the field: from which byte of the frame
  /// on, and where it goes; nil when none is asked for.
  var checksum: (start: Int, field: Int)? {
    guard flags & 1 != 0 else { return nil }
    let start = Int(UInt16(truncatingIfNeeded: low >> 48))
    return (start, start + Int(high))
  }

  /// The protocol of a packet that has to be cut; nil for one that has not.
  var segmented: Segmentation.Transport? {
    switch type {
    case 1, 4: .tcp
    case 3: .udp
    default: nil
    }
  }
}
