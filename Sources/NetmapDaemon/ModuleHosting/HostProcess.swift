internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A process that was started to run a module.
struct HostProcess: Sendable {
  let process: Int32
  /// The user who asked for the process and whose quota it counts against.
  let user: UInt32
  /// A pidfd; becomes readable when the process ends.
  let death: OwnedFile
  /// The process waits for a message on this socket before it connects, and reports its progress on
  /// it.
  let channel: MessageSocket
  /// The process's `/proc/PID/stat`, which tells whether it waits for a processor; nil where there
  /// is no /proc.
  let state: OwnedFile?
  /// The process reports on this socket that it has become the user, and may be told on it to
  /// leave.
  ///
  /// Nil if this process did not start it with a sealed request.
  let report: MessageSocket?

  /// The most module hosts at a time.
  static let countMax = 64
  /// The most module hosts of one user other than root.
  ///
  /// A process that cannot be killed still counts.
  static let countMaxOfUser = 16

  /// - Parameters:
  ///   - users: The users of all existing module hosts, one entry for each host.
  ///   - user: The user who asks for another one.
  ///   - vale: The name of the switch.
  /// - Throws: ``NetmapError`` `ENOMEM` when there are too many.
  static func checkRoom(
    beside users: [UInt32], for user: UInt32, _ vale: String
  ) throws(NetmapError) {
    let own = users.count { $0 == user }
    guard users.count < countMax, user == 0 || own < countMaxOfUser else {
      throw NetmapError(
        .outOfMemory, "load", vale,
        reason: "\(users.count) processes already run modules, \(own) of them for user \(user)",
        remedy: "remove some modules")
    }
  }

  /// The error where root has turned off modules from shared objects.
  static var turnedOff: NetmapError {
    NetmapError(
      .notPermitted, "load", "module",
      reason: "netmapd runs no modules from shared objects (--no-modules)")
  }

  /// The module to run, and the user to run it as.
  struct Order {
    let vale: String
    let choice: SwitchModuleChoice
    let user: UInt32
    let group: UInt32
  }

  init(
    process: Int32, user: UInt32, death: OwnedFile, channel: MessageSocket, state: OwnedFile?
  ) {
    self.process = process
    self.user = user
    self.death = death
    self.channel = channel
    self.state = state
    report = nil
  }

  /// Starts this program again as a child of this process, with the order on its command line.
  ///
  /// - Parameters:
  ///   - order: The order. The process takes on the user's rights before it does anything else.
  ///   - address: The daemon's address.
  /// - Throws: ``NetmapError`` with the `errno` of posix_spawn(3).
  init(_ order: Order, _ address: DaemonAddress) throws(NetmapError) {
    guard case .loaded(let path, let configuration, let fallback) = order.choice else {
      throw NetmapError(
        .invalidArgument, "load", order.vale, reason: "the module is not a shared object")
    }
    try self.init(
      [
        "--module-host=\(path)", "--module-switch=\(order.vale)",
        "--module-configuration==\(configuration)", "--module-fallback=\(fallback.rawValue)",
        "--module-user=\(order.user)", "--module-group=\(order.group)",
      ], address, for: order.user)
  }

  /// Starts this program again with a socket in which a user's request lies.
  ///
  /// This process does not touch the socket: any process with a copy of it can make every call on
  /// it hang.
  ///
  /// - Parameters:
  ///   - seal: The socket; remains the caller's.
  ///   - user: The user who asked, as far as is known before the request is read.
  ///   - address: The daemon's address.
  /// - Throws: ``NetmapError`` with the `errno` of posix_spawn(3).
  init(
    sealed seal: CInt, for user: UInt32, _ address: DaemonAddress
  ) throws(NetmapError) {
    try self.init(["--module-seal"], address, for: user, seal: seal)
  }

  private init(
    _ options: [String], _ address: DaemonAddress, for user: UInt32, seal: CInt? = nil
  ) throws(NetmapError) {
    let (mine, theirs) = try MessageSocket.pair()
    var reports: (mine: MessageSocket, theirs: MessageSocket)?
    if seal != nil { reports = try MessageSocket.pair() }
    process = try DaemonProgram.spawn(
      "/proc/self/exe", options + ["--socket=\(address.path)"], listener: theirs.descriptor,
      others: [seal, reports?.theirs.descriptor].compactMap { $0 },
      log: try DaemonLog(path: "\(address.path).module.log"), waits: false,
      // A process that traps must end at once, without a backtrace: the switch waits for its end.
      environment: ["SWIFT_BACKTRACE=enable=no"])
    let pidfd = clinux_pidfd_open(process)
    guard pidfd >= 0 else {
      let error = systemError("pidfd_open", "module", remedy: "modules need Linux 5.3 or later")
      kill(process, SIGKILL)
      _ = waitpid(process, nil, 0)
      throw error
    }
    death = OwnedFile(pidfd)
    channel = mine
    state = ProcessorShare.file(of: process)
    self.user = user
    report = reports?.mine
  }

  /// Whether the process has ended.
  ///
  /// Reaps it if it is a child of this process.
  var hasEnded: Bool {
    var state = pollfd(fd: death.descriptor, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&state, 1, 0) == 1 else { return false }
    // After this call the kernel may reuse the number of a child.
    _ = waitpid(process, nil, WNOHANG)
    return true
  }

  /// Kills the process.
  func end() {
    // Use the pidfd: the number may belong to another process by now.
    _ = clinux_pidfd_signal(death.descriptor, SIGKILL)
  }
}
