internal import CLinux
internal import Glibc
package import NetmapCore

extension DaemonAddress {
  /// Connects to the daemon, and starts one if none runs.
  ///
  /// - Parameters:
  ///   - purpose: What the connection is for.
  ///   - starts: Whether to start a daemon if none runs.
  /// - Returns: The address and a connection to it.
  /// - Throws: ``NetmapError`` when this user may not use the daemon, or when the program netmapd
  ///   is not found.
  package static func reach(
    for purpose: Purpose = .mailbox, starts: Bool = true
  ) throws(NetmapError) -> (address: DaemonAddress, connection: MessageSocket) {
    for address in try candidates() {
      if let connection = try address.connect(for: purpose) { return (address, connection) }
    }
    let address = try own()
    guard starts else {
      throw NetmapError(
        .init(rawValue: ENOENT), "connect", address.path, reason: "no netmapd is running",
        remedy: "open a port, or start one: netmapd")
    }
    try address.startDaemon()
    guard let connection = try address.connect(for: purpose) else {
      throw NetmapError(
        .init(rawValue: ECONNREFUSED), "start", "netmapd", reason: "it ended right after its start",
        remedy: "see \(address.path).log")
    }
    return (address, connection)
  }

  /// Starts a daemon that is detached from this process and exits when it is idle.
  ///
  /// Clients can connect as soon as this returns: this process makes the socket listen before the
  /// daemon runs.
  ///
  /// - Parameters:
  ///   - forced: The path of the program; nil to search for it.
  ///   - idleExit: Seconds without an open port after which the daemon exits.
  /// The daemon gets the sizes of its memory from this process's environment (``SharedRegionCounts``), and whether it joins
  /// the ends of veths (``VethJoining``).
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when the program is not installed, `EINVAL` for a size out of range.
  package func startDaemon(
    program forced: String? = nil, idleExit: Int = 5
  ) throws(NetmapError) {
    let program = if let forced { forced } else { try DaemonProgram.find() }
    let counts = try SharedRegionCounts.fromEnvironment()
    guard let claim = try claim() else { return }
    defer { close(claim.listener) }
    do throws(NetmapError) {
      try DaemonProgram.spawn(
        program,
        [
          "--listener", "3", "--socket", path, "--idle-exit", "\(idleExit)", "--log-level",
          "notice",
        ] + counts.options + (VethJoining.isInEnvironment ? [VethJoining.option] : []),
        listener: claim.listener, log: claim.log, waits: true)
    } catch {
      // No other process can have bound the path again while this process listens on it.
      unsafe unlink(path)
      throw error
    }
  }

  /// Makes the socket listen, so that clients that connect from now on wait for the daemon that
  /// this process starts.
  ///
  /// Holds the lock only until then: on a busy machine a daemon takes some time to start, and other
  /// processes need not wait for that before they connect.
  ///
  /// - Returns: The listening socket, which the caller closes, and the daemon's log; nil when there
  ///   is a daemon, or when another process is about to start one.
  private func claim() throws(NetmapError) -> (listener: CInt, log: DaemonLog)? {
    let lock = try DaemonLock(self)
    defer { withExtendedLifetime(lock) {} }
    // Another process may have been faster.
    if try connect() != nil { return nil }
    // Open the log before listening: an error must not leave a socket behind that no daemon will
    // serve.
    let log = try DaemonLog(path: "\(path).log")
    return (try listen(), log)
  }
}

/// The program `netmapd`.
package enum DaemonProgram {
  /// The folder of the library that this code is part of, if the program may lie beside it.
  ///
  /// Set once, before any search.
  private nonisolated(unsafe) static var libraryFolder: String?

  /// Has the program looked for in the installation of a library.
  ///
  /// - Parameter folder: The library's folder, an absolute path without links.
  package static func look(besideLibraryIn folder: String) { unsafe libraryFolder = folder }

  /// Finds the program: `$NETMAPD`, else beside the running program, else where `make install` puts
  /// it, also as seen from the library, else in `$PATH`.
  static func find() throws(NetmapError) -> String {
    if let forced = environment("NETMAPD") { return forced }
    var places: [String] = []
    if let own = ownFolder() { places += [own, "\(own)/../sbin", "\(own)/../../sbin"] }
    if let library = unsafe libraryFolder {
      places += [library, "\(library)/../../sbin", "\(library)/../../bin"].filter {
        isOthersBeyondReach($0)
      }
    }
    places += ((environment("PATH") ?? "") + ":/usr/local/sbin:/usr/sbin").split(separator: ":")
      .map(
        String.init)
    // Skip relative folders, which depend on the working folder.
    for place in places where place.hasPrefix("/") {
      let path = "\(place)/netmapd"
      if unsafe access(path, X_OK) == 0 { return path }
    }
    throw NetmapError(
      .init(rawValue: ENOENT), "start", "netmapd",
      reason: "the program is neither next to this one nor in PATH, and no netmapd is running",
      remedy: "install it (make install), or set NETMAPD to its path")
  }

  /// Whether a folder, and the program in it, belong to root or this user, and no other user may write to them.
  private static func isOthersBeyondReach(_ folder: String) -> Bool {
    [folder, "\(folder)/netmapd"].allSatisfy { path in
      var status = stat()
      return unsafe stat(path, &status) == 0 && (status.st_uid == 0 || status.st_uid == geteuid())
        && status.st_mode & 0o022 == 0
    }
  }

  private static func ownFolder() -> String? {
    var bytes = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink("/proc/self/exe", &bytes, bytes.count - 1)
    guard count > 0 else { return nil }
    let path = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/")
  }

  /// Runs the program with the listening socket as descriptor 3.
  ///
  /// The program runs in a session of its own, without the caller's preloaded libraries, terminal
  /// and working folder.
  ///
  /// - Parameters:
  ///   - program: The path of the program.
  ///   - options: The arguments after the program's name.
  ///   - listener: The socket; remains the caller's.
  ///   - others: Descriptors that become 4, 5, and so on; they remain the caller's.
  ///   - log: The file for the program's standard error stream; emptied first.
  ///   - waits: Whether to wait for the end of the process. For a daemon, which leaves another
  ///     process behind that is not a child of this one.
  ///   - additions: Environment variables to set, as `NAME=VALUE`.
  /// - Returns: The ID of the process.
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
    // Duplicate the descriptors above 3 first: dup2 of 3 onto itself would leave close-on-exec set.
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
    // If the program ignores SIGCHLD or waits for any child, there is nothing left to wait for.
    // That is no error.
    while unsafe waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return process
  }

  /// The part of this process's environment that a daemon gets, as `NAME=VALUE`.
  ///
  /// The daemon does not get variables for preloaded libraries or a debugging runtime. Where root's
  /// daemon looks for libraries and programs must not depend on the user who started a program with
  /// root's rights.
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
      guard let base = buffer.baseAddress else { preconditionFailure("the buffer is empty") }
      return unsafe body(base)
    }
  }
}
