internal import Glibc
internal import Netmap
internal import NetmapCore

/// Files with dumps of the memory that ports share.
enum DumpFile {
  /// Has netmapd dump its memory, adds what /proc says about the clients, and writes a file that only its owner can read.
  ///
  /// - Parameter path: The file, which is replaced if it exists.
  /// - Returns: The dump, and its length in bytes.
  /// - Throws: ``NetmapError`` of the request or of the file.
  static func write(_ path: String) throws(NetmapError) -> (dump: EngineDump, byteCount: Int) {
    var dump = try HostEngine.shared.dump()
    // This tool is one of the clients.
    let own = getpid()
    let numbers = Set(dump.clients.map(\.process) + dump.owners.map(\.opener)).subtracting([own])
    dump.processes = numbers.sorted().compactMap(process)
    let bytes = dump.bytes
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC
    let file = unsafe open(path, flags, 0o600)
    guard file >= 0 else { throw systemError("open", path) }
    defer { close(file) }
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes[done...].withUnsafeBytes { rest in
        unsafe Glibc.write(file, rest.baseAddress, rest.count)
      }
      guard count > 0 else {
        if count < 0, errno == EINTR { continue }
        throw systemError("write", path)
      }
      done += count
    }
    return (dump, bytes.count)
  }

  /// Reads a file, which may contain anything.
  ///
  /// - Throws: ``NetmapError`` of the file, or `EINVAL` when it is no dump.
  static func read(_ path: String) throws(NetmapError) -> DumpedEngine {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw systemError("open", path) }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = unsafe Glibc.read(file, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw systemError("read", path) }
      if count == 0 { break }
      bytes += chunk[..<count]
      guard bytes.count <= EngineDump.byteCountMax else {
        throw NetmapError(
          .invalidArgument, "read", path,
          reason: "it has more than \(EngineDump.byteCountMax) bytes, so it is no dump")
      }
    }
    do throws(NetmapError) {
      return try DumpedEngine(try EngineDump(bytes))
    } catch {
      throw NetmapError(error.code, "read", path, reason: error.reason, remedy: error.remedy)
    }
  }

  private static func process(_ number: Int32) -> EngineDump.Process? {
    let file = unsafe open("/proc/\(number)/stat", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 512)
    let text = bytes.prefix(max(0, unsafe Glibc.read(file, &bytes, bytes.count)))
    // The name is in parentheses, and can contain some itself.
    guard let start = text.firstIndex(of: UInt8(ascii: "(")),
      let end = text.lastIndex(of: UInt8(ascii: ")")), start < end, end + 2 < text.endIndex
    else { return nil }
    return EngineDump.Process(
      number: number, state: text[end + 2], name: Array(text[(start + 1)..<end]))
  }
}
