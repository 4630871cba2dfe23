internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A process that has been started to run a module.
struct HostProcess: Sendable {
  let process: Int32
  /// Who has asked for it, and pays for it.
  let user: UInt32
  /// Becomes readable when it has ended.
  let death: OwnedFile
  /// Where it waits for a word before it connects, and says how far it has come.
  let channel: MessageSocket
  /// Tells whether it waits for a processor; nil where there is no /proc.
  let state: OwnedFile?
  /// Where it says that it has become a user, and may be told to leave; nil for a process that has not been
  /// given a seal by this one.
  let report: MessageSocket?

  /// The most at a time.
  static let countMax = 64
  /// The most of one user other than root. One that cannot be ended keeps its place.
  static let countMaxOfUser = 16

  /// - Parameters:
  ///   - users: For whom there are such processes.
  ///   - user: Who asks for another.
  ///   - bridge: The switch that it is for.
  /// - Throws: ``NetmapError`` `ENOMEM` when there are too many.
  static func checkRoom(
    beside users: [UInt32], for user: UInt32, _ bridge: String
  ) throws(NetmapError) {
    let own = users.count { $0 == user }
    guard users.count < countMax, user == 0 || own < countMaxOfUser else {
      throw NetmapError(
        .outOfMemory, "load", bridge,
        reason: "\(users.count) processes run modules already, \(own) of them for user \(user)",
        remedy: "remove some")
    }
  }

  /// Why none is started where root wants none.
  static var turnedOff: NetmapError {
    NetmapError(
      .notPermitted, "load", "module",
      reason: "netmapd runs no modules from shared objects (--no-modules)")
  }

  /// What to run, and for whom.
  struct Order {
    let bridge: String
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

  /// Starts this program once more, as a child of this process.
  ///
  /// - Parameters:
  ///   - order: What to run, and for whom: the process takes on the user's rights before it does anything.
  ///   - address: The daemon's.
  /// - Throws: ``NetmapError`` with the `errno` of posix_spawn(3).
  init(_ order: Order, _ address: DaemonAddress) throws(NetmapError) {
    guard case .loaded(let path, let configuration, let fallback) = order.choice else {
      throw NetmapError(.invalidArgument, "load", order.bridge, reason: "it is no shared object")
    }
    try self.init(
      [
        "--module-host=\(path)", "--module-switch=\(order.bridge)",
        "--module-configuration==\(configuration)", "--module-fallback=\(fallback.rawValue)",
        "--module-user=\(order.user)", "--module-group=\(order.group)",
      ], address, for: order.user)
  }

  /// Starts it with a socket in which a user's request lies. This process does not touch the socket: whoever has a
  /// copy of it can make any call on it take for ever.
  ///
  /// - Parameters:
  ///   - seal: The socket; stays the caller's.
  ///   - user: Who has asked, as far as is known before the request is read.
  ///   - address: The daemon's.
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
      // A process that traps is to be gone at once: the switch waits for its end.
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

  /// Whether it has ended.
  var hasEnded: Bool {
    var state = pollfd(fd: death.descriptor, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&state, 1, 0) == 1 else { return false }
    // Where it is a child of this process, its number may be used again from now on.
    _ = waitpid(process, nil, WNOHANG)
    return true
  }

  /// Kills it.
  func end() {
    // By the descriptor: its number may be another process's by now.
    _ = clinux_pidfd_signal(death.descriptor, SIGKILL)
  }
}
