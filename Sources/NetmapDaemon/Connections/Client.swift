internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A process that is attached to the daemon: its slot, its doorbell and its mailbox.
///
/// A client hangs up when its process ends or becomes another program, or when it violates the
/// protocol. It ends when its process can no longer write to shared memory. Neither affects its
/// tokens, nor do tokens affect the client.
final class Client {
  let tag: ClientTag
  let process: Int32
  let user: UInt32
  let group: UInt32
  let role: Role
  /// The client's doorbell.
  ///
  /// The state of a doorbell never ends a client: a client that damages its own is just not woken.
  let bell: PeerBell
  /// The doorbell end that the client watches, until the server has sent it.
  var watchedEnd: OwnedFile?
  /// A pidfd; becomes readable when the process dies.
  let death: OwnedFile
  /// Tells whether the process still has the memory that it had when it became a client.
  let mark: LifeMark
  /// The key under which the server watches ``death``.
  var deathKey: UInt64 = 0

  /// The client's mailbox; nil once the client has hung up.
  ///
  /// The server sends it nothing more then, and takes no requests from it.
  var mailbox: Connection?
  /// When to check whether a process that hung up still runs the same program, monotonic
  /// nanoseconds; nil before the hang-up, `.max` during a check.
  var nextLook: UInt64?
  /// Whether a check after the hang-up has found the process still there.
  var hasBeenSeen = false

  /// For an untrusted client: whether the worker watches its doorbell, and when it last woke the
  /// worker by message, monotonic nanoseconds.
  var wakesWorker = false
  var lastWake: UInt64 = 0
  /// The bindings whose rings it may have mapped.
  var seen: Set<BindingID> = []
  /// The switches on which it has a port.
  var switches: Set<UInt64> = []
  var mail = Outbox()
  /// When it last opened or attached a port, monotonic nanoseconds.
  var lastOpen: UInt64 = 0

  /// Whether it is outside the trust domain and gets only isolated ports.
  var isUntrusted: Bool { role == .untrusted }
  var hasHungUp: Bool { mailbox == nil }
  /// Whether it has hung up and no check has found it still there.
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
