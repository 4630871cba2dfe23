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
  let doorbell: Doorbell
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

  /// Of a stranger: what it rings to wake the worker.
  var workerBell: OwnedFile?
  /// Bindings whose rings it may have mapped.
  var seen: Set<BindingID> = []
  /// Switches on which it has a port.
  var switches: Set<UInt64> = []
  var mail = Outbox()

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
    self.doorbell = doorbell
    self.death = death
    self.mark = mark
  }

  /// Wakes every sleeper of the process.
  func ring() {
    if doorbell.isShared {
      // Somebody can have made it a blocking one, and full.
      var room = pollfd(fd: doorbell.rung.descriptor, events: Int16(POLLOUT), revents: 0)
      guard unsafe poll(&room, 1, 0) == 1, Int32(room.revents) & POLLOUT != 0 else { return }
    }
    ringDoorbell(doorbell.rung.descriptor)
  }
}
