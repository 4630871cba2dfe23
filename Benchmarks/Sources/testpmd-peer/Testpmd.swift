internal import Foundation

/// A running testpmd, driven through its command line.
///
/// Started with posix_spawn(3): Foundation's `Process` needs a loopback interface that is up, which does not
/// exist in this namespace.
final class Testpmd {
  struct Counters {
    var received = ""
    var sent = ""
    var missed = ""
  }

  private let process: pid_t
  private let input: CInt
  private let output: CInt
  private var text = ""

  /// The path of testpmd; nil when it is not installed.
  static var path: String? {
    let folders = ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":") ?? []
    return folders.map { "\($0)/dpdk-testpmd" }
      .first(where: FileManager.default.isExecutableFile(atPath:))
  }

  init(_ path: String, _ arguments: [String]) throws {
    var (toChild, fromChild): ([CInt], [CInt]) = ([-1, -1], [-1, -1])
    guard unsafe pipe(&toChild) == 0, unsafe pipe(&fromChild) == 0 else {
      throw PeerError("pipe: error \(errno)")
    }
    for end in toChild + fromChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, fromChild[1], 2)
    // testpmd does not flush its output.
    let words = ["stdbuf", "-oL", path] + arguments
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { unsafe pointers.forEach { unsafe free($0) } }
    var process: pid_t = 0
    let code = unsafe posix_spawnp(&process, words[0], &actions, nil, &pointers, environ)
    close(toChild[0])
    close(fromChild[1])
    guard code == 0 else { throw PeerError("\(words[0]): error \(code)") }
    self.process = process
    (input, output) = (toChild[1], fromChild[0])
  }

  /// Waits until testpmd prompts for commands.
  func waitForPrompt() throws { _ = try read(through: "testpmd> ") }

  func type(_ line: String) throws {
    let bytes = Array((line + "\n").utf8)
    guard unsafe write(input, bytes, bytes.count) == bytes.count else {
      throw PeerError("dpdk-testpmd takes no commands: error \(errno)")
    }
  }

  func counters(ofPort port: Int) throws -> Counters {
    try type("show port stats \(port)")
    // testpmd prints the rates after the counters.
    let words = try read(through: "Tx-pps:").split(whereSeparator: \.isWhitespace)
    func value(_ label: String) throws -> String {
      guard let index = words.lastIndex(where: { $0 == label }), index + 1 < words.count else {
        throw PeerError("dpdk-testpmd tells no \(label)")
      }
      return String(words[index + 1])
    }
    return try Counters(
      received: value("RX-packets:"), sent: value("TX-packets:"), missed: value("RX-missed:"))
  }

  /// Consumes testpmd's output up to and including `end`.
  private func read(through end: String) throws -> String {
    while true {
      if let range = text.range(of: end) {
        let result = String(text[..<range.lowerBound])
        text.removeSubrange(..<range.upperBound)
        return result
      }
      guard let part = readOnce() else {
        throw PeerError("dpdk-testpmd has ended:\n" + text.suffix(1000))
      }
      text += part
    }
  }

  /// - Returns: Nil at the end of the output.
  private func readOnce() -> String? {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = unsafe Foundation.read(output, &bytes, bytes.count)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }

  /// Ends testpmd, and waits until it has released the interfaces.
  ///
  /// Kills a testpmd that does not end within 10 s: a core that hangs would keep a CPU busy forever.
  func end() {
    try? type("quit")
    close(input)
    // testpmd blocks unless its remaining output is read.
    let deadline = Date(timeIntervalSinceNow: 10)
    var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
    while true {
      let left = deadline.timeIntervalSinceNow
      guard left > 0, unsafe poll(&waiting, 1, CInt(left * 1000) + 1) > 0 else {
        kill(process, SIGKILL)
        break
      }
      if readOnce() == nil { break }
    }
    var status: CInt = 0
    _ = unsafe waitpid(process, &status, 0)
  }
}
