internal import CLinux
internal import Glibc
internal import Testing

/// The reason why a program that a test needs has failed.
public struct ProgramError: Error, CustomStringConvertible {
  public let text: String

  public var description: String { text }
}

/// A program that a test starts.
///
/// It inherits the network namespace of the thread that starts it, but no descriptors, and no blocked or
/// ignored signals, of the test process. All waits are limited. A program that neither writes nor ends for
/// ``patience`` seconds is killed, and so is a program that the test still waits for ``lifetime`` seconds after
/// its start; in both cases the test fails.
public struct TestProgram: Sendable {
  public let process: Int32
  private let name: String
  private let output: ProgramOutput
  /// Nil when standard error goes to ``output`` too.
  private let errors: ProgramOutput?

  /// The end of the last wait for the program.
  private let deadline: ContinuousClock.Instant

  /// Seconds that a program may be silent: far more than any program needs on a busy machine.
  public static let patience: CInt = 90

  /// Seconds after its start that the test may wait for a program.
  ///
  /// The limit grows with the number of rounds of fault tests.
  public static let lifetime =
    240 * max(1, Int(environmentNumber("NETMAP_FAULT_ROUNDS") ?? 0) / 200)

  /// Starts a program, found by its path or in `PATH`.
  ///
  /// - Parameters:
  ///   - arguments: The program and its arguments.
  ///   - environment: Variables to set in addition to this process's environment.
  ///   - separatesErrors: Whether standard error is separate from standard output.
  /// - Throws: ``ProgramError`` when the program cannot start.
  public init(
    _ arguments: [String], environment: [String: String] = [:], separatesErrors: Bool = false
  ) throws {
    let arguments =
      environment.isEmpty ? arguments : ["env"] + environment.map { "\($0)=\($1)" } + arguments
    let out = try Self.channel()
    let err: (reading: ProgramOutput, writing: CInt)?
    do {
      err = separatesErrors ? try Self.channel() : nil
    } catch {
      close(out.writing)
      throw error
    }
    defer {
      close(out.writing)
      if let err { close(err.writing) }
    }
    deadline = .now + .seconds(Self.lifetime)
    process = try Self.spawn(arguments, out.writing, err?.writing ?? out.writing)
    name = arguments.joined(separator: " ")
    output = out.reading
    errors = err?.reading
  }

  private static func channel() throws -> (reading: ProgramOutput, writing: CInt) {
    var ends: [CInt] = [-1, -1]
    guard unsafe clinux_pipe(&ends) == 0 else {
      throw ProgramError(text: "pipe: errno \(errno)")
    }
    return (ProgramOutput(owning: ends[0]), ends[1])
  }

  private static func spawn(
    _ arguments: [String], _ output: CInt, _ errors: CInt
  ) throws -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
    // Close the descriptors that other threads have open: if this program kept another program's pipe open, the
    // reader of that pipe would never see its end.
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, 3)
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    unsafe sigfillset(&signals)
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
    unsafe posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe argv.forEach { unsafe free($0) } }
    var process: pid_t = 0
    let code = unsafe posix_spawnp(&process, arguments[0], &actions, &attributes, &argv, environ)
    guard code == 0 else {
      throw ProgramError(text: "\(arguments[0]): \(unsafe String(cString: strerror(code)))")
    }
    return process
  }

  /// Waits for the program's next output; empty at its end.
  public func read() -> String { next(of: output) }

  /// The rest of the program's current line of output, and nothing beyond it.
  public func readLine() -> String {
    var line = ""
    while !line.hasSuffix("\n"), let part = output.read(within: Self.patience, upTo: 1),
      !part.isEmpty
    {
      line += part
    }
    return line
  }

  /// Waits for the program's next output on a separate standard error; empty at its end.
  public func readErrors() -> String { errors.map { next(of: $0) } ?? "" }

  private func next(of stream: ProgramOutput) -> String {
    let seconds = patienceLeft
    if seconds > 0, let part = stream.read(within: seconds) { return part }
    giveUp("says nothing")
    return ""
  }

  /// Seconds that the next wait may take; 0 when the deadline has passed.
  private var patienceLeft: CInt {
    let left = (deadline - .now).components.seconds
    return left > 0 ? min(Self.patience, CInt(left)) : 0
  }

  private func giveUp(_ reason: String) {
    let time =
      patienceLeft > 0
      ? "for \(Self.patience) s" : "and is still waited for \(Self.lifetime) s after its start"
    Issue.record("\(name): \(reason) \(time); killed")
    Glibc.kill(process, SIGKILL)
  }

  /// Reads and discards the program's output until its end, so that the program never blocks on it.
  public func drain() {
    let output = output
    // Without a limit for silence.
    DetachedThread { while output.read(within: -1)?.isEmpty == false {} }
  }

  /// Ends the program with a signal, and waits for its end.
  public func kill(_ signal: CInt) {
    Glibc.kill(process, signal)
    _ = wait()
  }

  /// Sends the program a signal.
  public func send(_ signal: CInt) { Glibc.kill(process, signal) }

  /// Waits until the program ends.
  ///
  /// - Returns: Its wait(2) status.
  @discardableResult
  public func wait() -> CInt {
    var status: CInt = 0
    var patience = max(patienceLeft, 1) * 1000
    var isKilled = false
    while true {
      let ended = unsafe waitpid(process, &status, WNOHANG)
      // An error means that the process has been waited for already.
      if ended == process || (ended == -1 && errno != EINTR) { return status }
      // The pidfd becomes readable when the process ends. Without one (an old kernel) the pause alone applies.
      let file = clinux_pidfd_open(process)
      defer { if file >= 0 { close(file) } }
      var waiting = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
      let pause: CInt = min(patience, file >= 0 ? 1000 : 5)
      _ = unsafe poll(&waiting, 1, pause)
      if waiting.revents != 0 { continue }
      patience -= pause
      guard patience <= 0 else { continue }
      // SIGKILL did not end the process either: it is stuck in the kernel.
      guard !isKilled else { return status }
      giveUp("does not end")
      (isKilled, patience) = (true, 10_000)
    }
  }

  /// Writes to standard error directly, bypassing the test runner's capture of output.
  static func shout(_ text: String) {
    let bytes = [UInt8](text.utf8)
    _ = unsafe write(2, bytes, bytes.count)
  }

  /// The path of a program of this package that the test target depends on.
  public static func built(_ name: String) -> String {
    // The test bundle is in the folder of the built programs.
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") } ?? CommandLine.arguments[0]
    var path = bundle[...]
    if let end = path.firstRange(of: ".xctest") { path = path[..<end.lowerBound] }
    path = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
    return "\(path)/\(name)"
  }

  /// The end of a program.
  public struct Outcome: Sendable {
    /// Its exit status, or the negated number of the signal that ended it.
    public let status: CInt
    /// Its output since the last read.
    public let output: String
    /// Its output on a separate standard error since the last read.
    public let errors: String
  }

  /// Waits for the program to end by itself.
  public func end() -> Outcome {
    let streams = [output] + (errors.map { [$0] } ?? [])
    var texts = ["", ""]
    var unfinished = Set(streams.indices)
    while !unfinished.isEmpty {
      let seconds = patienceLeft
      let ready =
        seconds > 0 ? ProgramOutput.ready(streams, among: unfinished, within: seconds) : []
      guard !ready.isEmpty else {
        giveUp("neither writes nor ends")
        break
      }
      for index in ready {
        let part = streams[index].read(within: 0) ?? ""
        texts[index] += part
        if part.isEmpty { unfinished.remove(index) }
      }
    }
    let status = wait()
    let signal = status & 0x7f
    return Outcome(
      status: signal == 0 ? status >> 8 & 0xff : -signal, output: texts[0], errors: texts[1])
  }

  /// Waits for the program to end by itself.
  ///
  /// - Returns: Its exit status, or the negated number of the signal that ended it, and its output since the
  ///   last read.
  public func finish() -> (status: CInt, output: String) {
    let outcome = end()
    return (outcome.status, outcome.output)
  }

  /// Reads until the output contains `text`, or the program has ended.
  ///
  /// - Returns: The output.
  public func read(until text: String) -> String {
    var output = ""
    while !output.contains(text), case let part = read(), !part.isEmpty { output += part }
    return output
  }

  /// Runs a program to its end, and returns its output.
  public static func output(of arguments: [String]) throws -> String {
    let (status, text) = try TestProgram(arguments).finish()
    guard status == 0 else {
      throw ProgramError(text: "\(arguments.joined(separator: " ")): status \(status): \(text)")
    }
    return text
  }
}
