package import NetmapCore

/// A dump on its way from the daemon: a length of 64 bits, and as many bytes.
package enum DumpedBytes {
  /// The length as bytes.
  package static func header(_ count: Int) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
  }

  /// The bytes in memory that a daemon has sent.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the length is not that of the memory.
  package static func bytes(in memory: SharedMemory) throws(NetmapError) -> [UInt8] {
    guard memory.byteCount >= 8 else { throw malformed }
    let header = memory.bytes(at: 0, count: 8)
    let count = header.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard count <= UInt64(memory.byteCount - 8) else { throw malformed }
    return memory.bytes(at: 8, count: Int(count))
  }

  private static var malformed: NetmapError {
    NetmapError(
      .invalidArgument, "read", "dump", reason: "the daemon's answer is damaged",
      remedy: "use one version of netmap for all processes")
  }
}
