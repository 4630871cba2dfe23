internal import CLinux
internal import Glibc

/// Whether a library can be preloaded into the program in a file.
enum ProgramFile {
  /// Why a library cannot be preloaded, and what to do instead.
  struct Obstacle: Equatable {
    let reason: String
    let remedy: String
  }

  /// Finds out why the dynamic loader would not preload a library into a program.
  ///
  /// Follows the first lines of scripts to their interpreters.
  ///
  /// - Parameters:
  ///   - path: The program.
  ///   - depth: The number of scripts that led here.
  /// - Returns: Nil if the library would be loaded, or if the file is no program, so that exec(2) says what is wrong.
  static func obstacle(at path: String, depth: Int = 0) -> Obstacle? {
    if let rights = moreRights(at: path) { return rights }
    guard let bytes = read(path) else { return nil }
    if bytes.starts(with: "#!".utf8) {
      let line = bytes.dropFirst(2).prefix { $0 != UInt8(ascii: "\n") }
      let words = line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
      guard let first = words.first, depth < 4 else { return nil }
      return obstacle(at: String(decoding: first, as: UTF8.self), depth: depth + 1)
    }
    return obstacle(in: bytes)
  }

  /// Whether the kernel gives the program rights that this user does not have.
  private static func moreRights(at path: String) -> Obstacle? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    let changesUser = status.st_mode & S_ISUID != 0 && status.st_uid != geteuid()
    let changesGroup = status.st_mode & S_ISGID != 0 && status.st_gid != getegid()
    let getsCapabilities = unsafe geteuid() != 0 && clinux_has_file_capabilities(path) != 0
    guard changesUser || changesGroup || getsCapabilities else { return nil }
    return Obstacle(
      reason:
        "it runs with more rights than yours (set-user-ID or file capabilities), so no library is preloaded into it",
      remedy: "run it as root, or link it with -lnetmap")
  }

  private static func read(_ path: String) -> [UInt8]? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = unsafe Glibc.read(file, &bytes, bytes.count)
    return count > 0 ? Array(bytes[..<count]) : nil
  }

  /// The machine of this build (`e_machine` of elf(5)), which the library is for.
  private static var machine: UInt16 {
    #if arch(x86_64)
      62
    #else
      183
    #endif
  }

  /// Looks at the header of an ELF file (elf(5)) and at its program headers.
  ///
  /// - Parameter bytes: The first bytes of the file; program headers that lie beyond them count as missing.
  /// - Returns: Nil also for other files.
  static func obstacle(in bytes: [UInt8]) -> Obstacle? {
    guard bytes.count >= 64, bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { return nil }
    // 64 bits, little endian; the machine
    guard bytes[4] == 2, bytes[5] == 1, number(bytes, 18, UInt16.self) == machine else {
      return Obstacle(
        reason: "it is for another machine than the C library",
        remedy: "use a build of the program for this machine")
    }
    guard let start = number(bytes, 32, UInt64.self).flatMap({ Int(exactly: $0) }),
      let size = number(bytes, 54, UInt16.self), let count = number(bytes, 56, UInt16.self)
    else { return nil }
    for index in 0..<Int(count) {
      let (header, overflows) = start.addingReportingOverflow(index * Int(size))
      // PT_INTERP: the path of the dynamic loader
      guard !overflows, number(bytes, header, UInt32.self) == 3,
        let offset = number(bytes, header + 8, UInt64.self).flatMap({ Int(exactly: $0) }),
        offset < bytes.count
      else { continue }
      let loader = String(decoding: bytes[offset...].prefix { $0 != 0 }, as: UTF8.self)
      guard loader.contains("musl") else { return nil }
      return Obstacle(
        reason: "it uses musl (\(loader)), and the C library is for glibc",
        remedy: "build the program with glibc")
    }
    return Obstacle(
      reason: "it is linked statically, so no library is preloaded into it",
      remedy: "link it dynamically; then it also works with -lnetmap")
  }

  /// A number at an offset of the file; nil if it lies beyond the bytes.
  private static func number<T: FixedWidthInteger>(
    _ bytes: [UInt8], _ offset: Int, _ type: T.Type
  ) -> T? {
    guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else { return nil }
    return (0..<MemoryLayout<T>.size).reduce(T.zero) { $0 | T(bytes[offset + $1]) << T(8 * $1) }
  }
}
