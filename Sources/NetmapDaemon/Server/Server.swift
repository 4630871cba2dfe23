internal import CLinux
internal import Glibc
package import Logging
internal import NetmapClient
package import NetmapCore

/// The daemon's server: answers requests, introduces processes to each other, and cleans up after
/// those that die.
///
/// The server runs on one thread and never waits: not for a client, not for the engine while it
/// opens an interface, and not for the close of a descriptor. It is on no port's data path.
package final class Server {
  package struct Settings {
    /// Seconds without an open port after which to exit; nil to stay.
    package var idleExit: Double?
    /// Ports that untrusted users may open as all other users do.
    package var sharedPorts: [PortPattern]

    /// Whether users may load modules from shared objects.
    package var allowsModules = true
    /// The opener, which performs privileged operations for the daemon; nil if the daemon performs
    /// them itself.
    package var opener: OpenerLink?

    package init(idleExit: Double? = nil, sharedPorts: [PortPattern] = []) {
      self.idleExit = idleExit
      self.sharedPorts = sharedPorts
    }
  }

  /// The meaning of a watched descriptor.
  enum Source {
    case listener(Listener)
    case signals
    case connection(Connection)
    case death(Client)
    /// The control thread's answers.
    case decisions
    /// The daemon's connections to itself.
    case own
    /// A module host: its messages and its end.
    case moduleHost(ModuleHost)
  }

  let engine: Engine
  let control: ControlThread
  let closer: Closer
  let isolation: Isolation
  let own: OwnConnections
  let log: Logger
  /// A number that no other daemon has.
  ///
  /// A client uses it to tell the regions of one daemon from those of the next one: their numbers may be the same
  /// after a while.
  let instance = UInt64.random(in: 1 ... .max)
  /// The address of the first listener.
  let address: DaemonAddress
  let settings: Settings
  let listeners: [Listener]
  /// The directory that untrusted clients get instead of the engine's; made on first use.
  var emptyDirectory: Directory?
  /// The daemon's own network namespace.
  let home = NamespaceFile.current()

  /// Events of the daemon's own work: deaths, decisions, signals.
  let urgent: EventQueue
  /// Events of listeners and connections, which peers can flood.
  let queue: EventQueue
  /// Mailboxes of clients with mail left to send: they become ready when the client has received
  /// something.
  let rooms: EventQueue
  var unread = UnreadFiles()
  /// When the server tries again to send mail that it could not send, monotonic nanoseconds.
  var postsAgainAt: UInt64?
  var sources: [UInt64: Source] = [:]
  private var lastKey: UInt64 = 0
  var connections: [UInt64: Connection] = [:]
  /// The connections of each user.
  var usage: [UInt32: ConnectionUsage] = [:]
  let untrustedUsage = ConnectionUsage()

  var clients: [Int: Client] = [:]
  /// Clients that have ended, while the control thread finishes their leases and exchanges.
  var ending: [ClientTag: Client] = [:]
  /// All bindings that are open, or were closed and may still be mapped by a client.
  var bindings: [BindingID: OpenBinding] = [:]
  /// The number of locks released from ended clients.
  var locksReleased: UInt64 = 0
  /// The network interfaces on switches, by their names there.
  var interfaces: [PortName: CarriedInterface] = [:]
  /// The switches as their processes know them.
  var switches: [UInt64: KnownSwitch] = [:]
  /// The switches on which a port was closed while senders may have been waiting for room.
  var crowded: Set<UInt64> = []
  /// The bindings, by the key of their token's connection.
  var tokens: [UInt64: BindingID] = [:]
  /// When the server looks again at closed ports that a sync still uses, monotonic nanoseconds; nil if there are none.
  var viewsEndAgainAt: UInt64?
  /// The tokens that clients have asked for by their mailboxes, and that the server has not accepted yet.
  var expected: [TokenName.Digits: ExpectedToken] = [:]
  /// The number of datagrams on tokens that were no requests.
  var ignoredDatagrams: UInt64 = 0
  /// The requests that are being decided, by ticket.
  var pending: [UInt64: Request] = [:]
  var turns = RequestTurns()
  var lastTicket: UInt64 = 0

  /// The module hosts.
  var hosts: [pid_t: ModuleHost] = [:]
  var hostsWatchedAt: UInt64 = 0
  /// Modules that are to be loaded, by the ticket of the request.
  var loading: [UInt64: LoadRequest] = [:]

  var idleSince: UInt64? = monotonicNanoseconds()
  var isStopping = false
  /// The server does not serve peers until this time for lack of descriptors, unless enough become
  /// free earlier; nil while it serves them.
  var parkedUntil: UInt64?
  /// The server does not make peers wait for descriptors again before this time.
  var parksAgainAt: UInt64 = 0
  /// When the server last looked at silent connections, monotonic nanoseconds.
  var silentSeenAt: UInt64 = 0
  /// A spare descriptor.
  ///
  /// The server closes it to accept, and refuse, a connection when no other descriptor is left.
  var reserve: OwnedFile?

  /// - Parameters:
  ///   - listeners: The sockets on which the server listens, at least one. The address of the first
  ///     is the one that the daemon gives to its own client and to module hosts.
  ///   - engine: The engine that carries out requests.
  ///   - settings: The settings.
  ///   - log: The log.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    listeners: [Listener], engine: Engine, settings: Settings, log: Logger
  ) throws(NetmapError) {
    precondition(!listeners.isEmpty, "the daemon has no listener")
    self.engine = engine
    self.log = log
    self.settings = settings
    self.listeners = listeners
    address = listeners[0].address
    urgent = try EventQueue()
    queue = try EventQueue()
    rooms = try EventQueue()
    closer = try Closer()
    let makeToken: ControlThread.TokenMaker =
      if let opener = settings.opener {
        { (name) throws(NetmapError) in try opener.connect(named: name) }
      } else {
        { [address] (name) throws(NetmapError) in try address.connectToken(named: name) }
      }
    control = try ControlThread(engine, home: home, makeToken: makeToken)
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
    // Any descriptor will do. An eventfd needs no path.
    let file = eventfd(0, CInt(EFD_CLOEXEC))
    return file >= 0 ? OwnedFile(file) : nil
  }

  /// Watches a descriptor and gives it a key.
  func watch(
    _ descriptor: CInt, in queue: borrowing EventQueue, _ source: (UInt64) -> Source
  ) throws(NetmapError) -> UInt64 {
    lastKey += 1
    try queue.add(descriptor, key: lastKey)
    sources[lastKey] = source(lastKey)
    return lastKey
  }

  /// Serves until a signal or idleness ends the server.
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
      endViewsIfDue()
      watchHosts()
      unparkIfPossible()
      endSilent()
      noteIdleness()
    }
    control.stop()
    // The exit of this process may hang in the close of another process's file. Connected clients
    // must not wait for that.
    for connection in connections.values { connection.socket.shutDown() }
  }

  /// Sleeps until something happens.
  ///
  /// - Returns: Whether peers need service.
  private func sleep() -> Bool {
    var entries = [
      pollfd(fd: urgent.descriptor, events: Int16(POLLIN), revents: 0),
      // poll(2) ignores negative descriptors: the server does not serve peers then.
      pollfd(
        fd: parkedUntil == nil ? queue.descriptor : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: rooms.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    _ = unsafe poll(&entries, nfds_t(entries.count), timeout())
    if entries[2].revents != 0 { postAgain() }
    return entries[1].revents != 0
  }

  /// Handles events of the daemon's own work.
  ///
  /// Deaths come first: a client that opens a port after another client's death must find that
  /// client's ports closed.
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

  /// Handles all deaths and hang-ups that are visible by now.
  ///
  /// The server calls this before each decision, so that closing a token takes effect at once.
  func reap() {
    for event in urgent.events(capacity: sources.count) {
      if case .death(let client) = sources[event.key] { end(client, because: "it ended") }
    }
    handleHangups(queue.events(capacity: sources.count))
  }

  private func handleHangups(_ events: [EventQueue.Event]) {
    for event in events where event.isOver {
      if case .connection(let connection) = sources[event.key] { hangUp(connection) }
    }
  }

  // MARK: - Turns

  /// The most messages of one user that the server reads per turn.
  private static let messagesPerTurn = (trusted: 16, untrusted: 4)

  /// Serves peers: at most one message of each connection, and a bounded number of each user's
  /// messages.
  private func serveTurn() {
    let events = queue.events(capacity: sources.count)
    handleHangups(events)
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
    // One message of each user, then the next of each, up to the limit.
    var round = 0
    while !ready.isEmpty, !isStopping {
      for user in ready.keys {
        guard let connection = ready[user]?.popLast() else {
          ready[user] = nil
          continue
        }
        let limit =
          user != 0 && connection.isUntrusted
          ? Self.messagesPerTurn.untrusted : Self.messagesPerTurn.trusted
        guard round < limit else {
          ready[user] = nil
          continue
        }
        guard makeRoom() else { return }
        // This turn may have closed the connection.
        guard connections[connection.key] === connection, !connection.isHeld else { continue }
        serve(connection)
      }
      round += 1
    }
  }
}

extension NetmapError.Code {
  /// Whether another try may succeed later.
  var isTemporary: Bool { rawValue == EAGAIN || rawValue == ENOBUFS || rawValue == ETOOMANYREFS }
}
