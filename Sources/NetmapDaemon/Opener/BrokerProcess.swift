internal import CLinux
internal import Glibc
internal import NetmapClient
package import NetmapCore

/// What a broker is told before anything else, by the process that started it.
package struct BrokerBeginning {
  /// Who it is to become.
  package let user: ConfinedUser
  /// The opener.
  package let opener: Int32
  /// Connected to the opener.
  package let link: OpenerLink
  /// Becomes readable when the broker is to end, and when the opener has.
  package let end: CInt
  /// Sockets that listen, the broker's from now on.
  package let listeners: [CInt]

  /// Where a broker finds its socket.
  package static let socket: CInt = 3

  /// Waits for it.
  ///
  /// - Throws: ``NetmapError`` when this process was not started by an opener.
  package init() throws(NetmapError) {
    let socket = Self.socket
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    // Descriptors as they come: sockets that listen are not to be closed with an object of here.
    var bytes = [UInt8](repeating: 0, count: 64)
    var files = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
    var (fileCount, truncated) = (0, CInt(0))
    let count = unsafe clinux_receive(
      socket, &bytes, bytes.count, &files, &fileCount, &truncated, 0)
    var reader = MessageReader(bytes.prefix(max(0, count)))
    guard count > 0, truncated == 0, fileCount >= 2,
      try reader.take(UInt16.self) == OpenerRequest.version
    else {
      throw NetmapError(
        .invalidArgument, "start", "netmapd", reason: "no opener has started it",
        remedy: "leave --broker out")
    }
    user = ConfinedUser(user: try reader.take(UInt32.self), group: try reader.take(UInt32.self))
    opener = try reader.take(Int32.self)
    link = OpenerLink(owning: socket)
    end = files[0]
    listeners = Array(files[1..<fileCount])
  }

  static func bytes(_ user: ConfinedUser) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(OpenerRequest.version)
    writer.put(user.user)
    writer.put(user.group)
    writer.put(getpid())
    return writer.bytes
  }
}

/// A broker, as its opener has it. Ended with the object.
final class BrokerProcess {
  let process: Int32
  /// Readable when it has ended. Not as long as a thread of it hangs in the kernel, in the close of a file of
  /// somebody's.
  let death: OwnedFile
  /// Tells whether its first thread has ended; nil where there is no /proc.
  private let state: OwnedFile?
  let socket: MessageSocket
  /// Closed to have it end.
  private var life: OwnedFile?
  private var status: CInt?

  /// Starts this program once more.
  ///
  /// - Parameters:
  ///   - options: Its command line.
  ///   - user: Who it becomes.
  ///   - listeners: Sockets that listen; they stay the caller's.
  /// - Throws: ``NetmapError`` with the `errno` of posix_spawn(3).
  init(_ options: [String], _ user: ConfinedUser, listeners: [CInt]) throws(NetmapError) {
    let (mine, theirs) = try MessageSocket.pair()
    var ends: [CInt] = [-1, -1]
    guard unsafe clinux_pipe(&ends) == 0 else { throw systemError("pipe", "netmapd") }
    let (reading, writing) = (OwnedFile(ends[0]), OwnedFile(ends[1]))
    process = try Self.spawn(options, theirs.descriptor)
    let pidfd = clinux_pidfd_open(process)
    guard pidfd >= 0 else {
      let error = systemError("pidfd_open", "netmapd", remedy: "netmapd needs Linux 5.3 or later")
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
      throw error
    }
    death = OwnedFile(pidfd)
    state = ProcessorShare.file(of: process)
    socket = mine
    life = writing
    do throws(NetmapError) {
      try socket.send(
        BrokerBeginning.bytes(user), [reading.descriptor] + listeners, waits: false)
    } catch {
      kill(process, SIGKILL)
      throw error
    }
    // Open until they have been sent: an optimised build ends an object after its last use.
    withExtendedLifetime((reading, theirs)) {}
  }

  deinit { end() }

  /// Has it end in an orderly way.
  func stop() { life = nil }

  /// How often to look whether it still does something, milliseconds: no descriptor of any kernel tells that
  /// the first thread has ended while another one hangs.
  static let lookPause: CInt = 1000

  /// Whether it does nothing any more: it has ended, or its first thread has.
  var isDead: Bool {
    isGone(within: 0) || (state.map { ProcessorShare.hasFirstThreadEnded($0) } ?? false)
  }

  /// Whether it has ended with all threads, so that nothing of it is left but its status.
  ///
  /// - Parameter milliseconds: How long to wait for that.
  /// - Returns: Whether it has.
  func isGone(within milliseconds: CInt) -> Bool {
    status != nil || Self.isReadable(death.descriptor, within: milliseconds)
  }

  private static func isReadable(_ file: CInt, within milliseconds: CInt) -> Bool {
    var state = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&state, 1, milliseconds) != 0
  }

  /// How long a process that has been killed may take to end, milliseconds.
  private static let endTime: CInt = 1000

  /// Kills it if it has not ended yet, and waits for its end; but not for a thread of it that hangs in the kernel.
  ///
  /// - Returns: Its wait(2) status; nil when a thread hangs.
  @discardableResult
  func end() -> CInt? {
    if let status { return status }
    // Nobody else waits for it, so the descriptor is of a process of that number.
    _ = clinux_pidfd_signal(death.descriptor, SIGKILL)
    guard isGone(within: Self.endTime) else { return nil }
    var result: CInt = 0
    while unsafe waitpid(process, &result, 0) < 0 && errno == EINTR {}
    status = result
    return result
  }

  private static func spawn(_ options: [String], _ socket: CInt) throws(NetmapError) -> Int32 {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    // Above those that it gets: dup2 of one onto itself would leave close-on-exec set.
    let high = fcntl(socket, CInt(CLINUX_F_DUPFD_CLOEXEC), 10)
    guard high >= 0 else { throw systemError("fcntl(F_DUPFD_CLOEXEC)", "netmapd") }
    defer { close(high) }
    // Not root's terminal.
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, high, BrokerBeginning.socket)
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, BrokerBeginning.socket + 1)
    unsafe posix_spawn_file_actions_addchdir_np(&actions, "/")
    // Signals are the opener's, whoever sends them to the whole group.
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe posix_spawnattr_setsigmask(&attributes, &all)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let program = "/proc/self/exe"
    let arguments: [UnsafeMutablePointer<CChar>?] =
      unsafe ([program] + options).map { unsafe strdup($0) } + [nil]
    // What finds a trap's place would be a program of its own, which it may not run.
    let environment: [UnsafeMutablePointer<CChar>?] = unsafe [
      strdup("SWIFT_BACKTRACE=enable=no"), nil,
    ]
    defer { unsafe (arguments + environment).forEach { unsafe free($0) } }
    var process: pid_t = 0
    let code = unsafe arguments.withUnsafeBufferPointer { arguments in
      unsafe environment.withUnsafeBufferPointer { environment -> CInt in
        guard let arguments = arguments.baseAddress, let environment = environment.baseAddress
        else { return EINVAL }
        return unsafe posix_spawn(&process, program, &actions, &attributes, arguments, environment)
      }
    }
    guard code == 0 else {
      errno = code
      throw systemError("posix_spawn", program)
    }
    return process
  }
}
