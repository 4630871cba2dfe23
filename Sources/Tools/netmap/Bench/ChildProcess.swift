internal import CLinux
internal import Glibc

/// A child process, connected through its standard input and output; it ends with this object.
final class ChildProcess {
  private let process: pid_t
  private let input: CInt
  private let output: CInt
  private let path: String
  private var buffer: [UInt8] = []
  private var hasEnded = false

  init(_ arguments: [String]) throws(BenchError) {
    path = arguments[0]
    var (toChild, fromChild): ([CInt], [CInt]) = ([-1, -1], [-1, -1])
    // A socket, because writing to a pipe without a reader raises a signal. The child must see the end of its
    // input when this process dies, so no other process holds the other end.
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &toChild) == 0 else {
      throw BenchError("socketpair: error \(errno)")
    }
    guard unsafe clinux_pipe(&fromChild) == 0 else {
      let code = errno
      for end in toChild { close(end) }
      throw BenchError("pipe: error \(code)")
    }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
    var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe words.forEach { unsafe free($0) } }
    var process: pid_t = 0
    let code = unsafe posix_spawn(&process, path, &actions, nil, &words, environ)
    close(toChild[0])
    close(fromChild[1])
    (input, output) = (toChild[1], fromChild[0])
    self.process = process
    guard code == 0 else {
      hasEnded = true
      close(input)
      close(output)
      throw BenchError("\(path): \(unsafe String(cString: strerror(code)))")
    }
  }

  deinit { end() }

  func write(_ text: String) throws(BenchError) {
    let bytes = [UInt8](text.utf8)
    guard unsafe send(input, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count else {
      throw BenchError("\(path) has ended; see its output")
    }
  }

  func readLine(within seconds: Int32) throws(BenchError) -> String {
    while true {
      if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: buffer[..<end], as: UTF8.self)
        buffer.removeFirst(end + 1)
        return line
      }
      var descriptor = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      let ready = unsafe poll(&descriptor, 1, seconds * 1000)
      if ready == -1 && errno == EINTR { continue }
      guard ready == 1 else { throw BenchError("\(path) printed nothing for \(seconds) s") }
      var part = [UInt8](repeating: 0, count: 4096)
      let count = unsafe read(output, &part, part.count)
      guard count > 0 else { throw BenchError("\(path) has ended; see its output") }
      buffer += part[..<count]
    }
  }

  /// Closes the child's input and waits until the child has ended; kills it after 5 s.
  func end() {
    guard !hasEnded else { return }
    hasEnded = true
    close(input)
    var status: CInt = 0
    var left = 500
    while unsafe waitpid(process, &status, WNOHANG) == 0 {
      left -= 1
      if left == 0 { kill(process, SIGKILL) }
      usleep(10_000)
    }
    close(output)
  }
}
