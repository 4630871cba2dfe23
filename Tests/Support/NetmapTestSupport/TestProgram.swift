internal import CLinux
internal import Glibc

/// Why a program that a test needs did not do its work.
public struct ProgramError: Error, CustomStringConvertible {
  public let text: String

  public var description: String { text }
}

/// A program that a test starts.
///
/// It inherits the network namespace of the thread that starts it.
public struct TestProgram: Sendable {
  public let process: Int32
  /// The reading end of the program's standard output and error.
  private let output: CInt

  /// Starts a program found by `PATH`, or by its path.
  public init(_ arguments: [String]) throws {
    var ends: [CInt] = [-1, -1]
    guard unsafe pipe(&ends) == 0 else { throw ProgramError(text: "pipe: errno \(errno)") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
    var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe argv.forEach { unsafe free($0) } }
    var process: pid_t = 0
    let code = unsafe posix_spawnp(&process, arguments[0], &actions, nil, &argv, environ)
    close(ends[1])
    guard code == 0 else {
      close(ends[0])
      throw ProgramError(text: "\(arguments[0]): \(unsafe String(cString: strerror(code)))")
    }
    self.process = process
    output = ends[0]
  }

  /// The program's next output, once there is some; empty at its end.
  public func read() -> String {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = unsafe Glibc.read(output, &bytes, bytes.count)
    return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
  }

  /// Ends the program with a signal, and waits until it is gone.
  public func kill(_ signal: CInt) {
    Glibc.kill(process, signal)
    _ = wait()
  }

  /// Waits until the program ends.
  ///
  /// - Returns: Its wait(2) status.
  public func wait() -> CInt {
    var status: CInt = 0
    while unsafe waitpid(process, &status, 0) == -1, errno == EINTR {}
    close(output)
    return status
  }

  /// Writes to standard error, past whatever collects a test's output.
  static func shout(_ text: String) {
    let bytes = [UInt8](text.utf8)
    _ = unsafe write(2, bytes, bytes.count)
  }

  /// The path of a program of this package, which the test target depends on.
  public static func built(_ name: String) -> String {
    // The bundle of tests lies in the folder that programs are built into.
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") } ?? CommandLine.arguments[0]
    var path = bundle[...]
    if let end = path.firstRange(of: ".xctest") { path = path[..<end.lowerBound] }
    path = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
    return "\(path)/\(name)"
  }

  /// Waits until the program ends by itself.
  ///
  /// - Returns: Its exit status, or the negative number of the signal that ended it, and what it has
  ///   written since it was last read.
  public func finish() -> (status: CInt, output: String) {
    var text = ""
    while case let part = read(), !part.isEmpty { text += part }
    let status = wait()
    let signal = status & 0x7f
    return (signal == 0 ? status >> 8 & 0xff : -signal, text)
  }

  /// Reads until `text` has come, or the program has ended.
  ///
  /// - Returns: What it wrote.
  public func read(until text: String) -> String {
    var output = ""
    while !output.contains(text), case let part = read(), !part.isEmpty { output += part }
    return output
  }

  /// Runs a program to its end.
  public static func output(of arguments: [String]) throws -> String {
    let (status, text) = try TestProgram(arguments).finish()
    guard status == 0 else {
      throw ProgramError(text: "\(arguments.joined(separator: " ")): status \(status): \(text)")
    }
    return text
  }
}
