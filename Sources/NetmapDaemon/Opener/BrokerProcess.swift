internal import CLinux
internal import Glibc
internal import NetmapClient
package import NetmapCore

/// The first message to a broker, from the opener that started it.
package struct BrokerBeginning {
  /// The user that the broker becomes.
  package let user: ConfinedUser
  /// The opener's process.
  package let opener: Int32
  /// The link to the opener.
  package let link: OpenerLink
  /// Becomes readable when the broker is to end and when the opener has ended.
  package let end: CInt
  /// The listening sockets; the broker owns them.
  package let listeners: [CInt]

  /// The descriptor of the socket pair with the opener, in a broker.
  package static let socket: CInt = 3

  /// Waits for the message.
  ///
  /// - Throws: ``NetmapError`` when no opener has started this process.
  package init() throws(NetmapError) {
    let socket = Self.socket
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    // Receive raw descriptors: no object here may close the listening sockets.
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
        .invalidArgument, "start", "netmapd", reason: "no opener started this process",
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

/// A broker, as the opener sees it.
///
/// The end of the object kills the broker.
final class BrokerProcess {
  let process: Int32
  /// A pidfd: readable when the broker has ended.
  ///
  /// Not readable while one of the broker's threads hangs in the kernel, in the close of another
  /// process's file.
  let death: OwnedFile
  /// The broker's `/proc/PID/stat`, which tells whether its first thread has ended; nil where there
  /// is no /proc.
  private let state: OwnedFile?
  let socket: MessageSocket
  /// The write end of a pipe.
  ///
  /// Closing it tells the broker to end.
  private var life: OwnedFile?
  private var status: CInt?

  /// Starts this program again as a broker.
  ///
  /// - Parameters:
  ///   - options: The arguments for the broker.
  ///   - user: The user that the broker becomes.
  ///   - listeners: The listening sockets; they remain the caller's.
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
    // Keep these open until they have been sent: an optimized build ends an object after its last
    // use.
    withExtendedLifetime((reading, theirs)) {}
  }

  deinit { end() }

  /// Tells the broker to end in an orderly way.
  func stop() { life = nil }

  /// How often the opener checks whether the broker is still alive, milliseconds.
  ///
  /// On no kernel does a descriptor tell that the first thread has ended while another one hangs.
  static let lookPause: CInt = 1000

  /// Whether the broker has stopped working: it has ended, or its first thread has.
  var isDead: Bool {
    isGone(within: 0) || (state.map { ProcessorShare.hasFirstThreadEnded($0) } ?? false)
  }

  /// Whether the broker has ended with all its threads, so that nothing but its status is left.
  ///
  /// - Parameter milliseconds: How long to wait for that.
  /// - Returns: Whether it has.
  func isGone(within milliseconds: CInt) -> Bool {
    status != nil || Self.isReadable(death.descriptor, within: milliseconds)
  }

  private static func isReadable(_ file: CInt, within milliseconds: CInt) -> Bool {
    var state = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
    while true {
      let count = unsafe poll(&state, 1, milliseconds)
      if count >= 0 || errno != EINTR { return count == 1 }
    }
  }

  /// How long a killed broker may take to end, milliseconds.
  private static let endTime: CInt = 1000

  /// Kills the broker if it has not ended yet, and waits for its end.
  ///
  /// Does not wait for a thread that hangs in the kernel.
  ///
  /// - Returns: The broker's wait(2) status; nil when a thread hangs.
  @discardableResult
  func end() -> CInt? {
    if let status { return status }
    // No other code reaps the broker, so its number cannot belong to another process before the
    // waitpid(2) below.
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
    // Duplicate the socket above the broker's descriptors: dup2 of a descriptor onto itself would
    // leave close-on-exec set.
    let high = fcntl(socket, CInt(CLINUX_F_DUPFD_CLOEXEC), 10)
    guard high >= 0 else { throw systemError("fcntl(F_DUPFD_CLOEXEC)", "netmapd") }
    defer { close(high) }
    // The broker must not have root's terminal.
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, high, BrokerBeginning.socket)
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, BrokerBeginning.socket + 1)
    unsafe posix_spawn_file_actions_addchdir_np(&actions, "/")
    // Block all signals: the opener handles signals to the whole process group, and then ends the
    // broker.
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
    // Swift's backtracer is a program of its own, which the broker may not run.
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
