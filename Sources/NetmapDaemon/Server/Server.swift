internal import CLinux
internal import Glibc
package import Logging
internal import NetmapClient
package import NetmapCore

/// The daemon: answers requests, tells processes of each other, and cleans up after those that die.
///
/// One thread, which waits for nobody: not for a client, not for the engine while that opens an interface, not
/// for a descriptor to be closed. It is in nobody's data path.
package final class Server {
  package struct Settings {
    /// Seconds without an open port after which to exit; nil to stay.
    package var idleExit: Double?
    /// Ports that strangers may open as everybody else does.
    package var sharedPorts: [PortPattern]

    /// Whether modules from shared objects are run.
    package var allowsModules = true
    /// What does for the daemon what takes privileges; nil where it does everything itself.
    package var opener: OpenerLink?

    package init(idleExit: Double? = nil, sharedPorts: [PortPattern] = []) {
      self.idleExit = idleExit
      self.sharedPorts = sharedPorts
    }
  }

  /// What a watched descriptor is.
  enum Source {
    case listener(Listener)
    case signals
    case connection(Connection)
    case death(Client)
    /// What the control thread has decided.
    case decisions
    /// Connections of the daemon to itself.
    case own
    /// A process that runs a module: what it says, and its end.
    case moduleHost(ModuleHost)
  }

  let engine: Engine
  let control: ControlThread
  let closer: Closer
  let isolation: Isolation
  let own: OwnConnections
  let log: Logger
  /// The first listener's.
  let address: DaemonAddress
  let settings: Settings
  let listeners: [Listener]
  /// What strangers are given in the place of the engine's.
  var emptyDirectory: Directory?
  /// The daemon's own.
  let home = NamespaceFile.current()

  /// What the daemon's own work goes on by: deaths, decisions, signals.
  let urgent: EventQueue
  /// Listeners and connections: what peers can make busy.
  let queue: EventQueue
  /// Mailboxes of processes that are to be told more once they have received something.
  let rooms: EventQueue
  var unread = UnreadFiles()
  /// When mail that could not be sent is tried again, monotonic nanoseconds.
  var postsAgainAt: UInt64?
  var sources: [UInt64: Source] = [:]
  private var lastKey: UInt64 = 0
  var connections: [UInt64: Connection] = [:]
  /// What the connections of users cost.
  var usage: [UInt32: ConnectionUsage] = [:]
  let strangersUsage = ConnectionUsage()

  var clients: [Int: Client] = [:]
  /// Clients that have ended, whose leases and exchanges the control thread finishes.
  var ending: [ClientTag: Client] = [:]
  /// By binding: what is open, and what was closed but may still be looked at.
  var bindings: [BindingID: OpenBinding] = [:]
  /// Locks that ended clients had.
  var locksReleased: UInt64 = 0
  /// Network interfaces on switches, by the name they have there.
  var interfaces: [PortName: CarriedInterface] = [:]
  /// Switches, as their processes know them.
  var switches: [UInt64: KnownSwitch] = [:]
  /// Switches on which a port has been closed while senders may be waiting for room.
  var crowded: Set<UInt64> = []
  /// By token.
  var tokens: [UInt64: BindingID] = [:]
  /// Requests that the control thread is deciding.
  var pending: [UInt64: Request] = [:]
  var turns = RequestTurns()
  var lastTicket: UInt64 = 0

  /// Processes that run modules.
  var hosts: [pid_t: ModuleHost] = [:]
  var hostsWatchedAt: UInt64 = 0
  /// Modules that are to be loaded, by request.
  var loading: [UInt64: LoadRequest] = [:]

  var idleSince: UInt64? = monotonicNanoseconds()
  var isStopping = false
  /// Until then peers are not served, for want of descriptors, unless some come free earlier.
  var parkedUntil: UInt64?
  /// They are not kept waiting again before that.
  var parksAgainAt: UInt64 = 0
  /// When connections that say nothing are looked at again.
  var silentSeenAt: UInt64 = 0
  /// Given up for a moment to tell a process that there is no descriptor for it.
  var reserve: OwnedFile?

  /// - Parameters:
  ///   - listeners: Where it listens, at least one; the first is the one that the daemon itself connects to.
  ///   - engine: What answers requests.
  ///   - settings: When to exit, and what strangers may open.
  ///   - log: Where to tell what happens.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    listeners: [Listener], engine: Engine, settings: Settings, log: Logger
  ) throws(NetmapError) {
    precondition(!listeners.isEmpty, "a daemon listens somewhere")
    self.engine = engine
    self.log = log
    self.settings = settings
    self.listeners = listeners
    address = listeners[0].address
    urgent = try EventQueue()
    queue = try EventQueue()
    rooms = try EventQueue()
    closer = try Closer()
    control = try ControlThread(engine, home: home)
    own = try OwnConnections()
    isolation = Isolation(engine, address, control, own)
    for listener in listeners {
      _ = fcntl(listener.descriptor, F_SETFL, O_NONBLOCK)
      guard clinux_pass_credentials(listener.descriptor) == 0 else {
        throw systemError("setsockopt(SO_PASSCRED)", listener.address.path)
      }
      listener.key = try watch(listener.descriptor, in: queue) { _ in .listener(listener) }
    }
    reserve = Self.spare()
  }

  static func spare() -> OwnedFile? {
    // Any file will do; this one need not be opened by name.
    let file = eventfd(0, CInt(EFD_CLOEXEC))
    return file >= 0 ? OwnedFile(file) : nil
  }

  /// Gives a new watched descriptor its key.
  func watch(
    _ descriptor: CInt, in queue: borrowing EventQueue, _ source: (UInt64) -> Source
  ) throws(NetmapError) -> UInt64 {
    lastKey += 1
    try queue.add(descriptor, key: lastKey)
    sources[lastKey] = source(lastKey)
    return lastKey
  }

  /// Serves until a signal or idleness ends it.
  ///
  /// - Parameter signals: A signalfd(2): any signal it reports ends the server.
  /// - Throws: ``NetmapError`` when descriptors have run out at the start.
  package func run(signals: CInt) throws(NetmapError) {
    _ = try watch(signals, in: urgent) { _ in .signals }
    _ = try watch(control.descriptor, in: urgent) { _ in .decisions }
    _ = try watch(own.descriptor, in: urgent) { _ in .own }
    for listener in listeners {
      log.info(
        "listening",
        metadata: ["socket": "\(listener.address.path)", "admission": "\(listener.admission)"])
    }
    while !isStopping {
      let isBusy = sleep()
      attend(urgent.events(capacity: sources.count))
      if isBusy, !isStopping { serveTurn() }
      unread.lookIfDue()
      postIfDue()
      if turns.isHeldUp { startRequests() }
      lookAtLeavers()
      watchHosts()
      unparkIfPossible()
      endSilent()
      noteIdleness()
    }
    control.stop()
    // This process may hang in the close of somebody's file: whoever is connected must not wait for that.
    for connection in connections.values { connection.socket.shutDown() }
  }

  /// Sleeps until something happens.
  ///
  /// - Returns: Whether peers want something.
  private func sleep() -> Bool {
    var entries = [
      pollfd(fd: urgent.descriptor, events: Int16(POLLIN), revents: 0),
      // Negative descriptors are left out: nobody new is listened to.
      pollfd(
        fd: parkedUntil == nil ? queue.descriptor : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: rooms.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    _ = unsafe poll(&entries, nfds_t(entries.count), timeout())
    if entries[2].revents != 0 { postAgain() }
    return entries[1].revents != 0
  }

  /// Deaths first: whoever opens a port after another was closed must find it closed.
  private func attend(_ events: [EventQueue.Event]) {
    for event in events {
      if case .death(let client) = sources[event.key] { end(client, because: "it ended") }
    }
    for event in events {
      switch sources[event.key] {
      case .signals:
        log.info("stopped by a signal")
        leave(evenIfAsked: true)
      case .own: acceptOwn()
      case .decisions: for decision in control.takeAnswers() { complete(decision) }
      case .moduleHost(let host): serve(host)
      case .death, .listener, .connection, nil: break
      }
    }
  }

  /// Takes note of every end that is visible by now. Called before each decision, which makes closing
  /// a token take effect at once.
  func reap() {
    for event in urgent.events(capacity: sources.count) {
      if case .death(let client) = sources[event.key] { end(client, because: "it ended") }
    }
    bury(queue.events(capacity: sources.count))
  }

  private func bury(_ events: [EventQueue.Event]) {
    for event in events where event.isOver {
      if case .connection(let connection) = sources[event.key] { hangUp(connection) }
    }
  }

  // MARK: - Turns

  /// Messages of one user's that are taken in one turn.
  private static let messagesPerTurn = (trusted: 16, stranger: 4)

  /// Serves peers: one message of each connection at most, and a bounded number of each user's.
  private func serveTurn() {
    let events = queue.events(capacity: sources.count)
    bury(events)
    var ready: [UInt32: [Connection]] = [:]
    for event in events {
      switch sources[event.key] {
      case .listener(let listener): accept(on: listener)
      case .connection(let connection):
        if event.isReadable, !connection.isHeld {
          ready[connection.user, default: []].append(connection)
        }
      default: break
      }
    }
    // One of each user, then another of each, as long as they may.
    var round = 0
    while !ready.isEmpty, !isStopping {
      for user in ready.keys {
        guard let connection = ready[user]?.popLast() else {
          ready[user] = nil
          continue
        }
        let limit =
          user != 0 && connection.isStrangers
          ? Self.messagesPerTurn.stranger : Self.messagesPerTurn.trusted
        guard round < limit else {
          ready[user] = nil
          continue
        }
        guard makeRoom() else { return }
        // It may have been closed in this turn.
        guard connections[connection.key] === connection, !connection.isHeld else { continue }
        serve(connection)
      }
      round += 1
    }
  }
}

extension NetmapError.Code {
  /// Whether trying again later may help.
  var isTemporary: Bool { rawValue == EAGAIN || rawValue == ENOBUFS || rawValue == ETOOMANYREFS }
}
