internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A module that is to be loaded, until its process has started.
struct LoadRequest {
  let bridge: String
  let choice: SwitchModuleChoice
  /// The same request in a socket of its own, for the opener.
  let sealed: ForeignFile?
  /// Of the switch, once it has been found.
  var serial: UInt64?
}

/// A process that runs a module for one switch: a client of the daemon whose port gets every packet that
/// is sent on the switch, and which delivers them.
///
/// It is told nothing once it works: that another module has been chosen it sees in the switch's segment,
/// deals with what is left, and ends.
final class ModuleHost {
  enum Phase {
    /// It opens its port and loads the module.
    case starting
    /// It waits for packets; the switch does not work by it yet, because a sender may still be reading
    /// what is to be written. With the module's own name.
    case ready(String)
    /// The switch works by it, or has.
    case running
    /// It has been killed.
    case ended
  }

  let started: HostProcess
  let channel: PeerSocket
  var process: pid_t { started.process }
  var death: OwnedFile { started.death }
  /// Keys under which the two are watched.
  var keys: [UInt64] = []
  let serial: UInt64
  let bridge: String
  let choice: SwitchModuleChoice
  /// The request that waits for it.
  var ticket: UInt64?
  /// Whether the control thread is about to have the switch work by it.
  var isAsked = false
  var phase = Phase.starting
  /// When a host that does not get on is given up, monotonic nanoseconds.
  var deadline: UInt64
  /// Of its port, once that is open.
  var port: (index: Int, segment: SyncSegment)?
  /// How far it was when it was last looked at and had got on, or had nothing to do; and when that was.
  var progress: (value: UInt64, time: UInt64)
  /// Processor time that it had used then, nanoseconds.
  private var usedAtProgress: UInt64 = 0

  /// How long a module may take to start.
  static let startTime: UInt64 = 10_000_000_000
  /// How long packets may lie without any being dealt with.
  static let stallTime: UInt64 = 500_000_000
  /// The same for a host that waits for a processor.
  static let starvationTime: UInt64 = 2_500_000_000
  /// How often it is looked at.
  static let watchPause: UInt64 = 50_000_000

  init(
    _ started: HostProcess, channel: PeerSocket, serial: UInt64, bridge: String,
    choice: SwitchModuleChoice, ticket: UInt64
  ) {
    self.started = started
    self.channel = channel
    self.serial = serial
    self.bridge = bridge
    self.choice = choice
    self.ticket = ticket
    let now = monotonicNanoseconds()
    deadline = now + Self.startTime
    progress = (0, now)
  }

  /// Whether packets have been lying in its ring for too long.
  func isStalled(at now: UInt64) -> Bool {
    guard case .running = phase, let port else { return false }
    let backlog = HostBacklog(port.segment)
    if !backlog.isWaiting || backlog.progress != progress.value {
      progress = (backlog.progress, now)
      usedAtProgress = ProcessorShare.time(of: process) ?? 0
      return false
    }
    let waited = now - min(now, progress.time)
    guard waited >= Self.stallTime else { return false }
    return waited >= Self.starvationTime || !isStarved
  }

  /// Whether it has been waiting for a processor rather than looping: a busy machine is not the module's
  /// fault.
  private var isStarved: Bool {
    guard let file = started.state, let share = ProcessorShare(of: process, file) else {
      return false
    }
    return share.isRunnable && share.time &- usedAtProgress < Self.stallTime / 2
  }
}
