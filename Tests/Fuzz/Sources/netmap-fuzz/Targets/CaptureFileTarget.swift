import CLinux
import Glibc

@testable import PktGenCore

extension FuzzTarget {
  /// A capture file.
  static let captureFile = FuzzTarget(
    name: "capture-file", subject: "capture files (pcap) that pkt-gen sends from"
  ) { bytes in
    let file = ScratchFile.shared
    file.replace(with: bytes)
    let expected = slowFirstPacket(of: bytes)
    do throws(Refusal) {
      let packet = try PacketFile.firstPacket(of: file.path)
      require(packet == expected, "the packet is the one that a second reading finds")
    } catch {
      require(expected == nil, "a file with a packet is read: \(error)")
      require("\(error)".contains(file.path), "a refusal names the file")
    }
  }

  /// A second reading of pcap-savefile(5).
  private static func slowFirstPacket(of file: [UInt8]) -> [UInt8]? {
    guard file.count >= 40 else { return nil }
    let order: [Int]
    switch Array(file[..<4]) {
    case [0xa1, 0xb2, 0xc3, 0xd4], [0xa1, 0xb2, 0x3c, 0x4d]: order = [0, 1, 2, 3]
    case [0xd4, 0xc3, 0xb2, 0xa1], [0x4d, 0x3c, 0xb2, 0xa1]: order = [3, 2, 1, 0]
    default: return nil
    }
    let length = order.reduce(0) { $0 * 256 + Int(file[32 + $1]) }
    guard length >= 1, length <= 65_536, 40 + length <= file.count else { return nil }
    return Array(file[40..<40 + length])
  }
}

/// A file without a name, whose contents an input replaces.
private final class ScratchFile: Sendable {
  static let shared = ScratchFile()
  private let descriptor = unsafe memfd_create("capture", 0)
  var path: String { "/proc/self/fd/\(descriptor)" }

  func replace(with bytes: [UInt8]) {
    require(ftruncate(descriptor, 0) == 0, "the file can be cut")
    require(unsafe pwrite(descriptor, bytes, bytes.count, 0) == bytes.count, "it takes the bytes")
  }
}
