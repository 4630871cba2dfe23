internal import Glibc
internal import NetmapCore

/// A file of packets in the format pcapng, which Wireshark, tshark and tcpdump read
/// (draft-ietf-opsawg-pcapng).
struct PcapngFile: ~Copyable {
  /// Whether the port sent the packet or received it, as in the option `epb_flags`.
  enum Direction: UInt32 {
    case inbound = 1
    case outbound = 2
  }

  private let path: String
  private let file: CInt
  private var pending: [UInt8] = []
  /// When the file was begun, nanoseconds since 1970.
  private let start: UInt64

  private static let pendingMax = 1 << 18

  /// Creates the file, or empties it if it exists, and writes its header.
  ///
  /// - Parameters:
  ///   - path: The file; `-` for standard output.
  ///   - port: The name of the port.
  /// - Throws: ``NetmapError`` of open(2).
  init(_ path: String, of port: String) throws(NetmapError) {
    self.path = path
    if path == "-" {
      file = STDOUT_FILENO
    } else {
      file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
      guard file >= 0 else { throw systemError("open", path) }
    }
    start = Self.now()
    // Section header: byte order, version 1.0, unknown length.
    pending += Self.block(0x0a0d_0d0a) { block in
      block.put(0x1a2b_3c4d as UInt32)
      block.put(1 as UInt16)
      block.put(0 as UInt16)
      block.put(UInt64.max)
      block.putOption(4, Array(PackageVersion.line(of: "netmap").utf8))
      block.putOption(0, [])
    }
    // The one interface: Ethernet, whole packets, time stamps in nanoseconds.
    pending += Self.block(1) { block in
      block.put(1 as UInt16)
      block.put(0 as UInt16)
      block.put(0 as UInt32)
      block.putOption(2, Array(port.utf8))
      block.putOption(9, [9])
      block.putOption(0, [])
    }
  }

  deinit { if file != STDOUT_FILENO { close(file) } }

  /// The present time, nanoseconds since 1970.
  static func now() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Adds a packet. The file may get it later, by ``flush()``.
  ///
  /// - Parameters:
  ///   - bytes: The packet, without frame check sequence.
  ///   - time: Nanoseconds since 1970.
  ///   - direction: Which way it went.
  /// - Throws: ``NetmapError`` of write(2).
  mutating func append(
    _ bytes: [UInt8], at time: UInt64, _ direction: Direction
  ) throws(NetmapError) {
    pending += Self.block(6) { block in
      block.put(0 as UInt32)
      block.put(UInt32(time >> 32))
      block.put(UInt32(truncatingIfNeeded: time))
      block.put(UInt32(bytes.count))
      block.put(UInt32(bytes.count))
      block.putPadded(bytes)
      block.putOption(2, Self.littleEndian(direction.rawValue))
      block.putOption(0, [])
    }
    if pending.count >= Self.pendingMax { try flush() }
  }

  /// Adds what was counted at the end, and writes everything that is pending.
  ///
  /// - Parameter counters: Of the monitor's receive rings.
  /// - Throws: ``NetmapError`` of write(2).
  mutating func finish(_ counters: RingCounters) throws(NetmapError) {
    let (start, end) = (start, Self.now())
    pending += Self.block(5) { block in
      block.put(0 as UInt32)
      block.put(UInt32(end >> 32))
      block.put(UInt32(truncatingIfNeeded: end))
      block.putOption(1, Array("dropped: \(counters.drops)".utf8))
      block.putOption(2, Self.halves(start))
      block.putOption(3, Self.halves(end))
      block.putOption(4, Self.littleEndian(counters.packets &+ counters.drops.total))
      block.putOption(5, Self.littleEndian(counters.drops.total))
      block.putOption(0, [])
    }
    try flush()
  }

  /// Writes everything that is pending.
  ///
  /// - Throws: ``NetmapError`` of write(2).
  mutating func flush() throws(NetmapError) {
    var done = 0
    while done < pending.count {
      let count = unsafe pending[done...].withUnsafeBytes { rest in
        unsafe Glibc.write(file, rest.baseAddress, rest.count)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw systemError("write", path) }
      done += count
    }
    pending.removeAll(keepingCapacity: true)
  }

  /// The bytes of a block.
  private static func block(_ kind: UInt32, _ write: (inout Block) -> Void) -> [UInt8] {
    var block = Block()
    write(&block)
    // The length comes at both ends, so that readers can go backwards.
    let length = littleEndian(UInt32(block.bytes.count + 12))
    return littleEndian(kind) + length + block.bytes + length
  }

  fileprivate static func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  /// A time as options have it: the upper half first.
  private static func halves(_ time: UInt64) -> [UInt8] {
    littleEndian(UInt32(time >> 32)) + littleEndian(UInt32(truncatingIfNeeded: time))
  }

  /// The contents of a block.
  private struct Block {
    private(set) var bytes: [UInt8] = []

    mutating func put<T: FixedWidthInteger>(_ value: T) {
      bytes += PcapngFile.littleEndian(value)
    }

    /// Bytes, and zeros up to a multiple of 4.
    mutating func putPadded(_ value: [UInt8]) {
      bytes += value
      bytes += [UInt8](repeating: 0, count: -value.count & 3)
    }

    mutating func putOption(_ code: UInt16, _ value: [UInt8]) {
      put(code)
      put(UInt16(clamping: value.count))
      putPadded(value)
    }
  }
}
