import Glibc
import Testing
import ToolSupport

@Suite("pkt-gen as a process")
struct SubprocessTests {
  @Test("-h prints the usage text with examples on the standard error stream, and succeeds")
  func help() throws {
    let child = try Child(["-h"])
    #expect(try child.wait() == 0)
    #expect(child.output == "")
    #expect(child.errors.hasPrefix("Usage: pkt-gen"))
    #expect(child.errors.contains("Examples"))
    for letter in "46afFNniIldsDSbcopTwWvRXCHrPzZAhBM" {
      #expect(child.errors.contains("-\(letter)"))
    }
  }

  @Test(
    "exit status and message of what cannot run",
    arguments: [
      (["-q"], 255, "bad option -q"), ([], 255, "missing ifname"),
      (["-i", "netmap:nosuch0", "-w0"], 255, "nosuch0"),
      (["-i", "x{1", "-f", "y"], 255, "function y"),
      (["-i", "x{1", "-p2", "-fping"], 1, "can only ping"),
    ] as [([String], CInt, String)])
  func failures(_ row: (arguments: [String], status: CInt, message: String)) throws {
    let child = try Child(row.arguments)
    #expect(try child.wait() == row.status)
    #expect(child.errors.contains(row.message))
  }

  @Test("sending to null")
  func null() throws {
    let child = try Child(["-i", "null", "-ftx", "-n1000"])
    #expect(try child.wait() == 0)
    #expect(child.output.contains("Sent 1000 packets 60000 bytes 2 events 60 bytes each in 0.00"))
  }

  @Test(
    "SIGINT and SIGTERM stop cleanly, with the last lines",
    arguments: [
      (SIGINT, "received control-C on thread 0x"), (SIGTERM, "received SIGTERM on thread 0x"),
    ])
  func stops(_ row: (signal: CInt, message: String)) throws {
    let child = try Child(["-i", "x{1", "-f", "rx"])
    try child.waitFor("reading from")
    child.send(row.signal)
    #expect(try child.wait() == 0)
    #expect(child.errors.contains(row.message))
    #expect(child.output.hasSuffix("Received nothing.\n"))
  }

  @Test("a second signal ends the process at once")
  func secondSignal() throws {
    let child = try Child(["-i", "x{1", "-f", "rx"])
    try child.waitFor("reading from")
    // Both arrive before it can act on the first.
    child.send(SIGSTOP)
    child.send(SIGINT)
    child.send(SIGTERM)
    child.send(SIGCONT)
    let status = try child.wait()
    #expect(status == -SIGINT || status == -SIGTERM)
  }

  @Test("a stop during the wait for the link does not wait")
  func stopsWhileWaiting() throws {
    let child = try Child(["-i", "x{1", "-f", "tx", "-w", "1000"])
    try child.waitFor("Wait 1000 secs")
    child.send(SIGINT)
    #expect(try child.wait() == 0)
    #expect(child.output.hasSuffix("Sent nothing.\n"))
  }
}

/// A pkt-gen process.
private final class Child {
  private let process: pid_t
  private let outputFile: CInt
  private let errorFile: CInt
  private(set) var output = ""
  private(set) var errors = ""

  init(_ arguments: [String]) throws {
    let path = try Self.folder() + "/pkt-gen"
    var (out, err): ([CInt], [CInt]) = ([0, 0], [0, 0])
    try #require(unsafe pipe(&out) == 0 && pipe(&err) == 0)
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, out[1], 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, err[1], 2)
    for file in out + err { unsafe posix_spawn_file_actions_addclose(&actions, file) }
    var words: [UnsafeMutablePointer<CChar>?] = unsafe ([path] + arguments).map {
      unsafe strdup($0)
    }
    unsafe words.append(nil)
    defer { unsafe words.forEach { unsafe free($0) } }
    var process = pid_t()
    let code = unsafe posix_spawn(&process, path, &actions, nil, words, environ)
    close(out[1])
    close(err[1])
    (self.process, outputFile, errorFile) = (process, out[0], err[0])
    try #require(code == 0, "\(path) cannot be run")
  }

  deinit {
    close(outputFile)
    close(errorFile)
  }

  /// Where the tests and the products lie.
  private static func folder() throws -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count)
    let path = String(
      decoding: buffer.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
  }

  func send(_ signal: CInt) { kill(process, signal) }

  /// Reads from the error stream until `text` has come.
  func waitFor(_ text: String) throws {
    while !errors.contains(text) {
      let part = Self.read(errorFile)
      try #require(!part.isEmpty, "no '\(text)' in \(errors)")
      errors += part
    }
  }

  /// Waits for the end.
  ///
  /// - Returns: The exit status; the negative number of the signal that ended the process.
  func wait() throws -> CInt {
    errors += Self.readAll(errorFile)
    output += Self.readAll(outputFile)
    var status: CInt = 0
    try #require(unsafe waitpid(process, &status, 0) == process)
    let signal = status & 0x7f
    return signal == 0 ? (status >> 8) & 0xff : -signal
  }

  private static func readAll(_ file: CInt) -> String {
    var text = ""
    while case let part = read(file), !part.isEmpty { text += part }
    return text
  }

  private static func read(_ file: CInt) -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe Glibc.read(file, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }
  }
}
