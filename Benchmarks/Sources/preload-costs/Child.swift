internal import Foundation

/// A program that runs to its end, with or without the library preloaded.
struct Child {
  let arguments: [String]

  /// Runs the program without input or output.
  ///
  /// - Parameters:
  ///   - library: The object to preload; nil for none.
  ///   - showsOutput: Whether standard output is this process's.
  /// - Returns: The wall-clock time in seconds, the exit status, and the number of page faults that needed no disk.
  /// - Throws: ``UsageError`` when the program cannot start.
  func run(
    preloading library: String?, showsOutput: Bool = false
  ) throws(UsageError) -> (seconds: Double, status: Int32, faults: Int) {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    if !showsOutput {
      unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
      unsafe posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    }
    var variables = ProcessInfo.processInfo.environment
    variables["LD_PRELOAD"] = library
    let environment = variables.map { "\($0.key)=\($0.value)" }
    var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = unsafe environment.map { unsafe strdup($0) } + [nil]
    defer { unsafe (argv + envp).forEach { unsafe free($0) } }
    var (process, status): (pid_t, Int32) = (0, 0)
    let start = ContinuousClock.now
    let code = unsafe posix_spawnp(&process, arguments[0], &actions, nil, &argv, &envp)
    guard code == 0 else {
      throw UsageError("\(arguments[0]): \(unsafe String(cString: strerror(code)))")
    }
    var usage = rusage()
    while unsafe wait4(process, &status, 0, &usage) < 0 && errno == EINTR {}
    return ((ContinuousClock.now - start) / .seconds(1), status, Int(usage.ru_minflt))
  }

  /// Whether the program is in `PATH`.
  static func isInstalled(_ name: String) -> Bool {
    let folders = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    return folders.split(separator: ":").contains { unsafe access("\($0)/\(name)", X_OK) == 0 }
  }
}
