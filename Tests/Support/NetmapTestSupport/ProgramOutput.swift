internal import CLinux
internal import Glibc

/// The reading end of what a program writes; closed when nobody refers to it any more.
///
/// A thread that still reads keeps it: a descriptor closed under it would soon be another file, and
/// the thread would take what that one's reader waits for.
final class ProgramOutput: Sendable {
  private let descriptor: CInt

  init(owning descriptor: CInt) {
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Those of `streams` that have something to read, or have ended.
  ///
  /// - Returns: None when that stays so for `seconds`.
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

  /// The next output, once there is some; empty at its end.
  ///
  /// - Parameters:
  ///   - seconds: How long to wait; negative for as long as it takes.
  ///   - limit: Bytes that are read at most.
  /// - Returns: Nil when nothing came for so long.
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
