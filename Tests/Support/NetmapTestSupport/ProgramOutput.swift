internal import CLinux
internal import Glibc

/// The read end of a program's output; closed with the last reference.
///
/// A thread that still reads keeps a reference: otherwise another file could get the number of the
/// closed descriptor, and the thread would take that file's data.
final class ProgramOutput: Sendable {
  private let descriptor: CInt

  init(owning descriptor: CInt) {
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// The indexes of the streams that have output to read, or have ended.
  ///
  /// - Returns: An empty array when no stream is ready within `seconds`.
  static func ready(
    _ streams: [ProgramOutput], among indices: Set<Int>, within seconds: CInt
  ) -> [Int] {
    let indices = indices.sorted()
    var waiting = indices.map {
      pollfd(fd: streams[$0].descriptor, events: Int16(POLLIN), revents: 0)
    }
    while unsafe poll(&waiting, nfds_t(waiting.count), seconds * 1000) == -1 {
      guard errno == EINTR else { return [] }
    }
    return zip(indices, waiting).filter { $1.revents != 0 }.map(\.0)
  }

  /// Waits for output and reads it; empty at the end of the output.
  ///
  /// - Parameters:
  ///   - seconds: The longest time to wait; negative for no limit.
  ///   - limit: The maximum number of bytes to read.
  /// - Returns: Nil when no output came within that time.
  func read(within seconds: CInt, upTo limit: Int = 4096) -> String? {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while true {
      let ready = unsafe poll(&waiting, 1, seconds < 0 ? -1 : seconds * 1000)
      if ready == -1 && errno == EINTR { continue }
      guard ready == 1 else { return nil }
      var bytes = [UInt8](repeating: 0, count: limit)
      let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
      if count == -1 && errno == EINTR { continue }
      return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
  }
}
