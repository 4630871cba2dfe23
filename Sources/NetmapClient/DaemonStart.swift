internal import CLinux
internal import Glibc
package import NetmapCore

extension DaemonAddress {
  /// Finds the daemon, and starts one where there is none.
  ///
  /// - Parameter starts: Whether to start one.
  /// - Returns: The address and a connection to it.
  /// - Throws: ``NetmapError``: what keeps this user from it, or the program from being found.
  package static func reach(
    starts: Bool = true
  ) throws(NetmapError) -> (address: DaemonAddress, connection: MessageSocket) {
    for address in try candidates() {
      if let connection = try address.connect() { return (address, connection) }
    }
    let address = try own()
    guard starts else {
      throw NetmapError(
        .init(rawValue: ENOENT), "connect", address.path, reason: "no netmapd is running",
        remedy: "open a port, or start one: netmapd")
    }
    try address.startDaemon()
    guard let connection = try address.connect() else {
      throw NetmapError(
        .init(rawValue: ECONNREFUSED), "start", "netmapd", reason: "it ended at once",
        remedy: "see \(address.path).log")
    }
    return (address, connection)
  }

  /// Starts a daemon that exits when it is idle, detached from this process. Returns when it can be
  /// connected to: the socket listens before the daemon runs.
  ///
  /// - Parameters:
  ///   - forced: The program; nil to look for it.
  ///   - idleExit: Seconds without an open port after which it leaves.
  /// - Throws: ``NetmapError`` `ENOENT` when the program is not installed.
  package func startDaemon(
    program forced: String? = nil, idleExit: Int = 5
  ) throws(NetmapError) {
    let program = if let forced { forced } else { try DaemonProgram.find() }
    guard let claim = try claim() else { return }
    defer { close(claim.listener) }
    do throws(NetmapError) {
      try DaemonProgram.spawn(
        program,
        [
          "--listener", "3", "--socket", path, "--idle-exit", "\(idleExit)", "--log-level",
          "notice",
        ],
        listener: claim.listener, log: claim.log, waits: true)
    } catch {
      // Nobody can have bound the path anew as long as this process listens on it.
      unsafe unlink(path)
      throw error
    }
  }

  /// Listens, so that whoever comes from now on waits for the daemon that this process is to start.
  ///
  /// The lock is held no longer than that: a daemon takes its time to start on a busy machine, and others
  /// need not wait for it before they connect.
  ///
  /// - Returns: Nil when there is a daemon, or somebody else is about to start one.
  private func claim() throws(NetmapError) -> (listener: CInt, log: DaemonLog)? {
    let lock = try DaemonLock(self)
    defer { withExtendedLifetime(lock) {} }
    // Somebody else may have been faster.
    if try connect() != nil { return nil }
    // Before it listens: a socket that nobody will serve must not be left behind.
    let log = try DaemonLog(path: "\(path).log")
    return (try listen(), log)
  }
}

/// The program `netmapd`.
package enum DaemonProgram {
  /// `$NETMAPD`, else beside the running program, else where `make install` puts it, else
  /// in `$PATH`.
  static func find() throws(NetmapError) -> String {
    if let forced = environment("NETMAPD") { return forced }
    var places: [String] = []
    if let own = ownFolder() { places += [own, "\(own)/../sbin", "\(own)/../../sbin"] }
    places += ((environment("PATH") ?? "") + ":/usr/local/sbin:/usr/sbin").split(separator: ":")
      .map(
        String.init)
    // A folder that depends on where the program was started is not looked into.
    for place in places where place.hasPrefix("/") {
      let path = "\(place)/netmapd"
      if unsafe access(path, X_OK) == 0 { return path }
    }
    throw NetmapError(
      .init(rawValue: ENOENT), "start", "netmapd",
      reason: "the program is neither beside this one nor in PATH",
      remedy: "install it (make install), or set NETMAPD to its path")
  }

  private static func ownFolder() -> String? {
    var bytes = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink("/proc/self/exe", &bytes, bytes.count - 1)
    guard count > 0 else { return nil }
    let path = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/")
  }

  /// Runs the program with the listening socket as descriptor 3, in a session of its own, without the
  /// caller's preload, its terminal and its working folder.
  ///
  /// - Parameters:
  ///   - program: Its path.
  ///   - options: Its command line.
  ///   - listener: The socket; stays the caller's.
  ///   - others: What becomes descriptors 4, 5, and so on; they stay the caller's.
  ///   - log: Where its standard error stream goes; emptied first.
  ///   - waits: Whether to wait until the process has ended: it leaves another one behind that is not
  ///     this process's child.
  ///   - additions: Variables to set, `NAME=VALUE`.
  /// - Returns: The process.
  /// - Throws: ``NetmapError`` with the `errno` of posix_spawn(3).
  @discardableResult
  package static func spawn(
    _ program: String, _ options: [String], listener: CInt, others: [CInt] = [], log: DaemonLog,
    waits: Bool, environment additions: [String] = []
  ) throws(NetmapError) -> Int32 {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    guard ftruncate(log.file.descriptor, 0) == 0 else { throw systemError("ftruncate", "log") }
    // Duplicates above 3 first: dup2 of 3 onto itself would leave close-on-exec set.
    let (high, highLog) = (try duplicate(listener), try duplicate(log.file.descriptor))
    unsafe posix_spawn_file_actions_adddup2(&actions, highLog.descriptor, 2)
    unsafe posix_spawn_file_actions_adddup2(&actions, high.descriptor, 3)
    var highOthers: [OwnedFile] = []
    for (index, file) in others.enumerated() {
      let copy = try duplicate(file)
      highOthers.append(copy)
      unsafe posix_spawn_file_actions_adddup2(&actions, copy.descriptor, 4 + CInt(index))
    }
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, 4 + CInt(others.count))
    unsafe posix_spawn_file_actions_addchdir_np(&actions, "/")
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var (none, all) = (sigset_t(), sigset_t())
    unsafe sigemptyset(&none)
    unsafe sigfillset(&all)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    unsafe posix_spawnattr_setflags(
      &attributes,
      Int16(
        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | CInt(CLINUX_POSIX_SPAWN_SETSID)))
    var process: pid_t = 0
    let result = unsafe withArguments([program] + options) { arguments in
      unsafe withArguments(daemonEnvironment(asRoot: geteuid() == 0) + additions) { environment in
        unsafe posix_spawn(&process, program, &actions, &attributes, arguments, environment)
      }
    }
    withExtendedLifetime((high, highLog, highOthers)) {}
    guard result == 0 else {
      errno = result
      throw systemError("posix_spawn", program)
    }
    guard waits else { return process }
    var status: CInt = 0
    // Whoever ignores SIGCHLD, or waits for any child, leaves nothing to wait for.
    while unsafe waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return process
  }

  /// What a daemon gets of this process's environment, `NAME=VALUE`.
  ///
  /// What a preloaded library or a debugging run-time of the caller needs is not the daemon's. Where root's
  /// looks for libraries and programs is for nobody to say who started a program with root's rights.
  package static func daemonEnvironment(asRoot: Bool) -> [String] {
    let names = ["LANG", "LC_ALL"] + (asRoot ? [] : ["PATH", "HOME", "LD_LIBRARY_PATH"])
    return names.compactMap { name in environment(name).map { "\(name)=\($0)" } }
      + (asRoot ? ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] : [])
  }

  private static func duplicate(_ file: CInt) throws(NetmapError) -> OwnedFile {
    let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), 10)
    guard copy >= 0 else { throw systemError("fcntl(F_DUPFD_CLOEXEC)", "netmapd") }
    return OwnedFile(copy)
  }

  private static func withArguments<R>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    let copies: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) } + [nil]
    defer { unsafe copies.forEach { unsafe free($0) } }
    return unsafe copies.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { preconditionFailure("never empty") }
      return unsafe body(base)
    }
  }
}
