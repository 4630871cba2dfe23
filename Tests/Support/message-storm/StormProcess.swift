import CLinux
import Glibc
import StormAttack

/// A process that this one starts, in the network namespace of the calling thread.
final class StormProcess {
  let process: Int32
  let name: String
  private let output: CInt
  private var status: CInt?

  /// The folder of the programs of this build.
  static let folder: String = {
    var text = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &text, text.count - 1)
    let path = String(
      decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
      separator: "/")
  }()

  static func built(_ name: String) -> String { "\(folder)/\(name)" }

  /// - Parameters:
  ///   - words: The program and its arguments.
  ///   - user: The user that runs it; nil for this process's.
  ///   - errors: The file to which the program's standard error goes; nil for this process's.
  /// - Throws: ``StormError`` when the program cannot be started.
  init(_ words: [String], by user: UInt32? = nil, errors: String? = nil) throws {
    name = words.joined(separator: " ")
    let prefix =
      ["setpriv", "--pdeathsig", "KILL"]
      + (user.map { ["--reuid=\($0)", "--regid=\($0)", "--clear-groups"] } ?? [])
    var ends: [CInt] = [-1, -1]
    guard clinux_pipe(&ends) == 0 else { throw StormError("pipe: errno \(errno)") }
    defer { close(ends[1]) }
    output = ends[0]
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    if let errors {
      posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, 3)
    var arguments: [UnsafeMutablePointer<CChar>?] = (prefix + words).map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    var process: pid_t = 0
    let code = posix_spawnp(&process, (prefix + words)[0], &actions, nil, &arguments, environ)
    guard code == 0 else {
      close(ends[0])
      throw StormError("\(words[0]): \(String(cString: strerror(code)))")
    }
    self.process = process
  }

  deinit {
    kill(SIGKILL)
    close(output)
  }

  /// The next line that the program prints, without its end.
  func readLine(within seconds: Int = 30) -> String {
    var line: [UInt8] = []
    while line.count < 4096 {
      var state = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard poll(&state, 1, CInt(seconds * 1000)) == 1 else { break }
      var byte: UInt8 = 0
      guard read(output, &byte, 1) == 1, byte != 10 else { break }
      line.append(byte)
    }
    return String(decoding: line, as: UTF8.self)
  }

  /// Everything that the program prints before it ends.
  func rest() -> String {
    var text = ""
    while case let line = readLine(within: 1), !line.isEmpty { text += line + "\n" }
    return text
  }

  /// The status of wait(2); nil while the process runs.
  var ended: CInt? {
    if let status { return status }
    var value: CInt = 0
    guard waitpid(process, &value, WNOHANG) == process else { return nil }
    status = value
    return value
  }

  func send(_ signal: CInt) {
    if status == nil { Glibc.kill(process, signal) }
  }

  /// Sends a signal, and waits up to ten seconds for the end.
  func kill(_ signal: CInt) {
    guard ended == nil else { return }
    Glibc.kill(process, signal)
    for _ in 0..<10_000 where ended == nil { usleep(1000) }
    if ended == nil { Glibc.kill(process, SIGKILL) }
  }
}
