internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A request to load a module, until the module's process has started.
struct LoadRequest {
  let vale: String
  let choice: SwitchModuleChoice
  /// The same request in a socket of its own, for the opener; nil if the client sent none.
  let sealed: ForeignFile?
  /// The serial number of the switch, once the control thread has found it.
  var serial: UInt64?
}

/// A process that runs a module for one switch.
///
/// The process is a client of the daemon. Its port receives every packet that is sent on the
/// switch, and the process delivers the packets.
///
/// Once the module works, the daemon sends it no more messages. The process sees in the switch's
/// segment that another module has been chosen, handles the remaining packets, and ends.
final class ModuleHost {
  enum Phase {
    /// The process opens its port and loads the module.
    case starting
    /// The process waits for packets; the associated value is the module's own name.
    ///
    /// The switch is not redirected to the process yet, because a sender may still be reading the
    /// memory that the redirection writes.
    case ready(String)
    /// The switch sends its packets to the process, or has done so.
    case running
    /// The daemon has killed the process.
    case ended
  }

  let started: HostProcess
  let channel: PeerSocket
  var process: pid_t { started.process }
  var death: OwnedFile { started.death }
  /// The keys under which the server watches ``death`` and ``channel``.
  var keys: [UInt64] = []
  let serial: UInt64
  let vale: String
  let choice: SwitchModuleChoice
  /// The request that waits for the module.
  var ticket: UInt64?
  /// Whether the control thread has been asked to redirect the switch.
  var isAsked = false
  var phase = Phase.starting
  /// When the server gives up a host that has not come further, monotonic nanoseconds.
  var deadline: UInt64
  /// The host's port, once it is open.
  var port: (index: Int, segment: SyncSegment)?
  /// What the server has seen of the host's progress.
  var watch: ModuleStallWatch
  /// The processor time that the host had used by then, nanoseconds.
  private var usedAtProgress: UInt64 = 0

  /// How long a module may take to start, nanoseconds. Shorter than clients wait (``DaemonAddress/patience``).
  static let startTime: UInt64 = 20_000_000_000
  /// How long packets may wait while the host handles none, nanoseconds.
  static let stallTime: UInt64 = 500_000_000
  /// The same for a host that waits for a processor, nanoseconds.
  static let starvationTime: UInt64 = 2_500_000_000
  /// How often the server checks a host, nanoseconds.
  static let watchPause: UInt64 = 50_000_000

  init(
    _ started: HostProcess, channel: PeerSocket, serial: UInt64, vale: String,
    choice: SwitchModuleChoice, ticket: UInt64
  ) {
    self.started = started
    self.channel = channel
    self.serial = serial
    self.vale = vale
    self.choice = choice
    self.ticket = ticket
    let now = monotonicNanoseconds()
    deadline = now + Self.startTime
    watch = ModuleStallWatch(at: now)
  }

  /// Begins to watch the host's progress, when packets begin to come to its ring.
  ///
  /// The processor time that the host has used to start is not time for which it has let packets wait.
  ///
  /// - Parameter now: Monotonic nanoseconds.
  func beginWatch(at now: UInt64) {
    watch = ModuleStallWatch(at: now)
    usedAtProgress = ProcessorShare.time(of: process) ?? 0
  }

  /// Whether packets have waited in the host's ring for too long.
  func isStalled(at now: UInt64) -> Bool {
    guard case .running = phase, let port else { return false }
    let backlog = HostBacklog(port.segment)
    if watch.look(backlog.progress, isWaiting: backlog.isWaiting, at: now) {
      usedAtProgress = ProcessorShare.time(of: process) ?? 0
      return false
    }
    guard watch.stalled >= Self.stallTime else { return false }
    return watch.stalled >= Self.starvationTime || !isStarved
  }

  /// Whether the host has been waiting for a processor rather than looping.
  ///
  /// A busy machine is not the module's fault.
  private var isStarved: Bool {
    guard let file = started.state, let share = ProcessorShare(of: process, file) else {
      return false
    }
    return share.isRunnable && share.time &- usedAtProgress < Self.stallTime / 2
  }
}
