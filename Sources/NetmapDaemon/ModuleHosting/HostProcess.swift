internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A process that has been started to run a module.
struct HostProcess: Sendable {
  let process: Int32
  /// Whose rights the module has.
  let user: UInt32
  /// Becomes readable when it has ended.
  let death: OwnedFile
  /// Where it waits for a word before it connects, and says how far it has come.
  let channel: MessageSocket
  /// Tells whether it waits for a processor; nil where there is no /proc.
  let state: OwnedFile?

  /// The most at a time.
  static let countMax = 64

  static func tooMany(_ bridge: String) -> NetmapError {
    NetmapError(
      .outOfMemory, "load", bridge, reason: "\(countMax) processes run modules already",
      remedy: "remove some")
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
    let (mine, theirs) = try MessageSocket.pair()
    process = try DaemonProgram.spawn(
      "/proc/self/exe",
      [
        "--module-host=\(path)", "--module-switch=\(order.bridge)",
        "--module-configuration==\(configuration)", "--module-fallback=\(fallback.rawValue)",
        "--module-user=\(order.user)", "--module-group=\(order.group)",
        "--socket=\(address.path)",
      ], listener: theirs.descriptor, log: try DaemonLog(path: "\(address.path).module.log"),
      waits: false,
      // A process that traps is to be gone at once: the switch waits for its end.
      environment: ["SWIFT_BACKTRACE=enable=no"])
    let pidfd = clinux_pidfd_open(process)
    guard pidfd >= 0 else {
      let error = systemError("pidfd_open", path, remedy: "modules need Linux 5.3 or later")
      kill(process, SIGKILL)
      _ = waitpid(process, nil, 0)
      throw error
    }
    death = OwnedFile(pidfd)
    channel = mine
    state = ProcessorShare.file(of: process)
    user = order.user
  }

  /// Whether it has ended.
  var hasEnded: Bool {
    var state = pollfd(fd: death.descriptor, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&state, 1, 0) == 1 else { return false }
    // Where it is a child of this process, its number may be used again from now on.
    _ = waitpid(process, nil, WNOHANG)
    return true
  }

  /// Kills it: a child of this process that has not been waited for.
  func end() {
    guard !hasEnded else { return }
    kill(process, SIGKILL)
  }
}
