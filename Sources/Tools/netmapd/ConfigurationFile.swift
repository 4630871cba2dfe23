internal import Glibc
internal import NetmapCore

/// The file with netmapd's tunables; ``Tunables/set(file:path:)`` describes its lines.
enum ConfigurationFile {
  /// The file that is read where the command line names none.
  static let standardPath = "/etc/netmap/netmapd.conf"

  /// The longest file, bytes.
  private static let byteCountMax = 65_536

  /// The bytes of the standard file; nil when there is none.
  ///
  /// - Throws: ``NetmapError`` as ``bytes(_:)``.
  static func standardBytes() throws(NetmapError) -> [UInt8]? {
    do throws(NetmapError) {
      return try bytes(standardPath)
    } catch {
      guard error.code.rawValue == ENOENT else { throw error }
      return nil
    }
  }

  /// Reads a file.
  ///
  /// - Throws: The ``NetmapError`` from opening or reading it, `EINVAL` for anything but a regular file, `E2BIG` for more
  ///   than 65536 bytes.
  static func bytes(_ path: String) throws(NetmapError) -> [UInt8] {
    // Without O_NONBLOCK the open of a pipe would wait for a writer.
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else {
      throw systemError(
        "open", path, remedy: "netmapd reads it when it starts, as the user who starts it")
    }
    defer { close(file) }
    var status = stat()
    guard unsafe fstat(file, &status) == 0 else { throw systemError("fstat", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw NetmapError(
        .invalidArgument, "read", path, reason: "it is not a regular file",
        remedy: "name a file with lines such as 'buf_num = 40000'")
    }
    var result = [UInt8](repeating: 0, count: byteCountMax + 1)
    var count = 0
    while count < result.count {
      let step = unsafe result.withUnsafeMutableBytes { space in
        unsafe read(file, space.baseAddress.map { unsafe $0 + count }, space.count - count)
      }
      if step < 0, errno == EINTR { continue }
      guard step >= 0 else { throw systemError("read", path) }
      if step == 0 { return Array(result.prefix(count)) }
      count += step
    }
    throw NetmapError(
      .tooLarge, "read", path, reason: "it has more than \(byteCountMax) bytes",
      remedy: "name a file with lines such as 'buf_num = 40000'")
  }
}
