internal import Glibc

/// Reads capture files in the classic pcap format, with microseconds or nanoseconds, in either byte order.
public enum CaptureFile {
  /// The capture files in `NETMAP_TEST_CAPTURES`, separated by colons; none when it is not set.
  public static var named: [String] {
    guard let value = unsafe getenv("NETMAP_TEST_CAPTURES") else { return [] }
    return unsafe String(cString: value).split(separator: ":").map(String.init)
  }

  /// Reads all frames of a file, except those that were truncated when captured.
  ///
  /// - Throws: ``ProgramError`` when the file cannot be read, or is not a capture.
  public static func frames(of path: String) throws -> [[UInt8]] {
    guard let file = unsafe fopen(path, "r") else {
      throw ProgramError(text: "\(path): \(unsafe String(cString: strerror(errno)))")
    }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = unsafe fread(&part, 1, part.count, file), count > 0 {
      bytes += part[..<count]
    }
    guard bytes.count >= 24 else { throw ProgramError(text: "\(path): too short for a capture") }
    func word(_ offset: Int, bigEndian: Bool) -> Int {
      let field = bytes[offset..<offset + 4]
      return (bigEndian ? Array(field) : field.reversed()).reduce(0) { $0 << 8 | Int($1) }
    }
    let magics = [0xa1b2_c3d4, 0xa1b2_3c4d]
    guard let isBig = [false, true].first(where: { magics.contains(word(0, bigEndian: $0)) }) else {
      throw ProgramError(text: "\(path): not a pcap file")
    }
    var result: [[UInt8]] = []
    var offset = 24
    while offset + 16 <= bytes.count {
      let captured = word(offset + 8, bigEndian: isBig)
      let length = word(offset + 12, bigEndian: isBig)
      offset += 16
      guard captured >= 0, offset + captured <= bytes.count else { break }
      if captured == length { result.append(Array(bytes[offset..<offset + captured])) }
      offset += captured
    }
    return result
  }
}
