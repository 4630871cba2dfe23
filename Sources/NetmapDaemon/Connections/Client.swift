internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A process that is attached to the daemon: its slot, its doorbell, its mailbox.
///
/// It hangs up when it ends, becomes another program, or breaks the rules; it ends when nothing of it can
/// write to shared memory any more. Neither has to do with tokens.
final class Client {
  let tag: ClientTag
  let process: Int32
  let user: UInt32
  let group: UInt32
  let role: Role
  /// Its doorbell. No process ends by it: who spoils its own is not woken.
  let bell: PeerBell
  /// The end of the doorbell that it watches, until that has been sent.
  var watchedEnd: OwnedFile?
  /// Becomes readable when the process dies.
  let death: OwnedFile
  /// Tells whether the process still has the memory that it had when it became a client.
  let mark: LifeMark
  /// Keys under which ``death`` is watched.
  var deathKey: UInt64 = 0

  /// Its mailbox; nil once it has hung up: it is told nothing more, and may ask for nothing.
  var mailbox: Connection?
  /// When to see whether a process that hung up is still what it was, monotonic nanoseconds.
  var nextLook: UInt64?
  /// Whether it has been seen to be still there after it hung up.
  var hasBeenSeen = false

  /// Of a stranger: whether the worker is woken by it, and when it has asked for that last by message, monotonic
  /// nanoseconds.
  var wakesWorker = false
  var lastWake: UInt64 = 0
  /// Bindings whose rings it may have mapped.
  var seen: Set<BindingID> = []
  /// Switches on which it has a port.
  var switches: Set<UInt64> = []
  var mail = Outbox()
  /// When it last opened a port, monotonic nanoseconds.
  var lastOpen: UInt64 = 0

  /// Whether it is outside the trust domain, and gets isolated ports only.
  var isStranger: Bool { role == .stranger }
  var hasHungUp: Bool { mailbox == nil }
  /// Whether it has hung up, and nobody has looked since whether it is still there.
  var mayBeGone: Bool { hasHungUp && !hasBeenSeen }

  init(
    tag: ClientTag, _ sender: Sender, _ role: Role, doorbell: Doorbell, death: OwnedFile,
    mark: LifeMark
  ) {
    self.tag = tag
    process = sender.process
    user = sender.user
    group = sender.group
    self.role = role
    bell = PeerBell(tag.doorbell, doorbell.rung, owner: doorbell.owner)
    watchedEnd = doorbell.watched
    self.death = death
    self.mark = mark
  }

  /// Wakes every sleeper of the process.
  func ring() { bell.ring() }
}
