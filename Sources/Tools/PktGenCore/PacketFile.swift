internal import Glibc

/// Reads the first packet of a capture file in the pcap format.
package enum PacketFile {
  /// Maximum length of a packet in bytes.
  private static let lengthMax = 65536

  /// Returns the captured bytes of the first packet.
  ///
  /// Supports both byte orders, and time stamps in microseconds or nanoseconds; see
  /// pcap-savefile(5).
  ///
  /// - Throws: ``Refusal`` that names the file and the problem.
  package static func firstPacket(of path: String) throws(Refusal) -> [UInt8] {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      throw Refusal("failed to open pcap file \(path): \(unsafe String(cString: strerror(errno)))")
    }
    defer { close(file) }
    let header = read(file, 24)
    guard header.count == 24, let isBig = isBigEndian(header) else {
      throw Refusal("failed to read packet from \(path): not a capture in pcap format")
    }
    let record = read(file, 16)
    guard record.count == 16 else {
      throw Refusal("failed to read packet from \(path): the file contains no packet")
    }
    let length = Int(word(record, at: 8, isBig))
    guard (1...lengthMax).contains(length) else {
      throw Refusal(
        "failed to read packet from \(path): length \(length) is outside 1...\(lengthMax)")
    }
    let packet = read(file, length)
    guard packet.count == length else {
      throw Refusal("failed to read packet from \(path): the file ends within the packet")
    }
    return packet
  }

  private static func isBigEndian(_ header: [UInt8]) -> Bool? {
    switch word(header, at: 0, true) {
    case 0xa1b2_c3d4, 0xa1b2_3c4d: true
    case 0xd4c3_b2a1, 0x4d3c_b2a1: false
    default: nil
    }
  }

  private static func word(_ bytes: [UInt8], at offset: Int, _ isBig: Bool) -> UInt32 {
    let part = bytes[offset..<offset + 4]
    return isBig
      ? part.reduce(0) { $0 << 8 | UInt32($1) } : part.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  private static func read(_ file: CInt, _ count: Int) -> [UInt8] {
    var result: [UInt8] = []
    while result.count < count {
      var part = [UInt8](repeating: 0, count: count - result.count)
      let got = unsafe Glibc.read(file, &part, part.count)
      if got < 0 && errno == EINTR { continue }
      guard got > 0 else { break }
      result += part.prefix(got)
    }
    return result
  }
}
