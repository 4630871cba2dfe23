internal import CLinux
internal import Glibc
package import Logging
package import NetmapClient
package import NetmapCore
internal import Synchronization

/// The daemon: answers requests, tells processes of each other, and cleans up after those that die.
///
/// One thread, which never waits for a client. It is in nobody's data path.
package final class Server {
  package struct Settings {
    /// Seconds without an open port after which to exit; nil to stay.
    package var idleExit: Double?
    /// Whether to remove the socket at the end; not systemd's, which goes on listening.
    package var removesSocket: Bool
    /// Whether users other than root and the daemon's own get isolated ports only.
    package var isolatesOthers: Bool

    package init(
      idleExit: Double? = nil, removesSocket: Bool = true, isolatesOthers: Bool = false
    ) {
      self.idleExit = idleExit
      self.removesSocket = removesSocket
      self.isolatesOthers = isolatesOthers
    }
  }

  /// What a watched descriptor is.
  enum Source {
    case listener
    case signals
    /// A connection that has not said yet what it is, or is a token.
    case connection(MessageSocket)
    case mailbox(Client)
    case death(Client)
    /// What the control thread has decided.
    case decisions
    /// A process that runs a module: what it says, and its end.
    case moduleHost(ModuleHost)
  }

  let engine: Engine
  let control: ControlThread
  let isolation: Isolation
  let log: Logger
  let address: DaemonAddress
  let settings: Settings
  private let listener: OwnedFile
  let queue: EventQueue

  var sources: [UInt64: Source] = [:]
  private var lastKey: UInt64 = 0
  var clients: [Int: Client] = [:]
  /// By binding: what is open, and what was closed but may still be looked at.
  var bindings: [BindingID: OpenBinding] = [:]
  /// Locks that processes have died with.
  var locksReleased: UInt64 = 0
  /// Network interfaces on switches, by the name they have there.
  var interfaces: [PortName: CarriedInterface] = [:]
  /// Switches on which a port has been closed while senders may be waiting for room.
  var crowded: Set<UInt64> = []
  /// By token.
  var tokens: [UInt64: BindingID] = [:]
  /// Requests that the control thread is deciding.
  var pending: [UInt64: PendingRequest] = [:]
  var lastTicket: UInt64 = 0

  /// Processes that run modules.
  var hosts: [pid_t: ModuleHost] = [:]
  var hostsWatchedAt: UInt64 = 0

  private var idleSince: UInt64? = monotonicNanoseconds()
  private var isStopping = false
  /// Accepting has stopped for want of descriptors until then.
  private var acceptsAgainAt: UInt64?
  private let listenerKey: UInt64
  /// Given up for a moment to tell a process that there is no descriptor for it.
  private var reserve: OwnedFile?

  /// - Parameters:
  ///   - listener: A listening socket; the server's from now on.
  ///   - address: What it is bound to.
  ///   - engine: What answers requests.
  ///   - settings: When to exit.
  ///   - log: Where to tell what happens.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    listener: CInt, address: DaemonAddress, engine: Engine, settings: Settings, log: Logger
  ) throws(NetmapError) {
    self.engine = engine
    self.log = log
    self.address = address
    self.settings = settings
    self.listener = OwnedFile(listener)
    queue = try EventQueue()
    control = try ControlThread(engine)
    isolation = Isolation(engine, address, control)
    _ = fcntl(listener, F_SETFL, O_NONBLOCK)
    listenerKey = 1
    lastKey = 1
    sources[listenerKey] = .listener
    try queue.add(listener, key: listenerKey)
    reserve = Self.spare()
  }

  private static func spare() -> OwnedFile? {
    let file = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
    return file >= 0 ? OwnedFile(file) : nil
  }

  /// Gives a new watched descriptor its key.
  func watch(_ descriptor: CInt, _ source: (UInt64) -> Source) throws(NetmapError) -> UInt64 {
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
    _ = try watch(signals) { _ in .signals }
    _ = try watch(control.descriptor) { _ in .decisions }
    log.info("listening", metadata: ["socket": "\(address.path)"])
    while !isStopping {
      let events = queue.events(capacity: sources.count, timeout: timeout())
      bury(events)
      for event in events where !isStopping { handle(event) }
      endLeavers()
      watchHosts()
      if lacksDescriptor { acceptOrRefuse() }
      acceptAgain()
      noteIdleness()
    }
    control.stop()
  }

  /// What has ended goes first: whoever opens a port after another was closed must find it closed.
  private func bury(_ events: [EventQueue.Event]) {
    for event in events {
      switch sources[event.key] {
      case .death(let client) where event.isReadable: end(client, because: "it ended")
      case .mailbox(let client) where event.isOver: hangUp(client)
      case .connection where event.isOver: endConnection(event.key)
      default: break
      }
    }
  }

  /// How long a process that hung up may live before it counts as gone, nanoseconds.
  private static let leaveTime: UInt64 = 50_000_000

  /// A process closed its mailbox: it is ending, or becoming another program, and sockets of interfaces
  /// are given up a moment later. Its end is reported; without that some time must do.
  private func hangUp(_ client: Client) {
    guard client.death != nil else { return end(client, because: "it hung up") }
    guard client.leavesAt == nil else { return }
    client.leaves(at: monotonicNanoseconds() + Self.leaveTime)
    sources[client.mailboxKey] = nil
  }

  /// - Parameter now: What time counts as now, monotonic nanoseconds.
  func endLeavers(by now: UInt64 = monotonicNanoseconds()) {
    for client in clients.values {
      if let time = client.leavesAt, time <= now { end(client, because: "it hung up") }
    }
  }

  /// Takes note of every end that is visible by now. Called before each decision, which makes closing
  /// a token take effect at once.
  func reap() {
    bury(queue.events(capacity: sources.count, timeout: 0))
  }

  private func handle(_ event: EventQueue.Event) {
    switch sources[event.key] {
    case .listener: accept(refuses: false)
    case .signals:
      log.info("stopped by a signal")
      leave(evenIfAsked: true)
    case .connection(let socket): serve(socket, event.key)
    case .mailbox(let client):
      if event.isWritable, !client.post() {
        queue.watch(client.mailbox.descriptor, key: event.key, writing: false)
      }
      if event.isReadable { serve(client) }
    case .decisions: for decision in control.takeAnswers() { complete(decision) }
    case .moduleHost(let host): serve(host)
    case .death, nil: break
    }
  }

  // MARK: - Connections

  /// Whether somebody waits to be accepted for whom there was no descriptor.
  private var lacksDescriptor = false

  /// What others have closed just now may be enough for who waits.
  private func acceptOrRefuse() {
    lacksDescriptor = false
    settle()
    for event in queue.events(capacity: sources.count, timeout: 0) {
      if case .listener = sources[event.key] { continue }
      bury([event])
      handle(event)
    }
    accept(refuses: true)
  }

  private func accept(refuses: Bool) {
    while true {
      let file = Glibc.accept(listener.descriptor, nil, nil)
      guard file >= 0 else {
        if errno == EMFILE || errno == ENFILE || errno == ENOMEM {
          guard refuses else {
            lacksDescriptor = true
            return
          }
          if refuse() { continue }
          log.error("no descriptor left for another client; trying again in 100 ms")
          queue.remove(listener.descriptor)
          acceptsAgainAt = monotonicNanoseconds() + 100_000_000
        }
        return
      }
      _ = fcntl(file, F_SETFD, FD_CLOEXEC)
      let socket = MessageSocket(owning: file)
      do throws(NetmapError) {
        _ = try watch(file) { _ in .connection(socket) }
      } catch {
        log.error("\(error)")
      }
    }
  }

  /// Tells the process that waits to be accepted that there is no descriptor left for it.
  ///
  /// - Returns: False when not even that can be done.
  private func refuse() -> Bool {
    guard reserve != nil else {
      reserve = Self.spare()
      return false
    }
    reserve = nil
    defer { reserve = Self.spare() }
    let file = Glibc.accept(listener.descriptor, nil, nil)
    guard file >= 0 else { return false }
    let error = NetmapError(
      .tooManyFiles, "connect", address.path, reason: "netmapd has no descriptor left",
      remedy: "close some ports, or raise netmapd's limit of open files (LimitNOFILE=)")
    log.notice("a client is refused", metadata: ["reason": "\(error)"])
    try? MessageSocket(owning: file).send(Message.refusal(error), waits: false)
    return true
  }

  private func acceptAgain() {
    guard let time = acceptsAgainAt, monotonicNanoseconds() >= time else { return }
    acceptsAgainAt = nil
    do throws(NetmapError) {
      try queue.add(listener.descriptor, key: listenerKey)
    } catch {
      log.error("\(error)")
      acceptsAgainAt = monotonicNanoseconds() + 100_000_000
    }
  }

  // MARK: - Idleness

  private var isIdle: Bool { tokens.isEmpty && pending.isEmpty && !engine.holdsPorts }

  private func timeout() -> CInt {
    var end: UInt64?
    if let idleExit = settings.idleExit, let idleSince {
      end = idleSince + UInt64(idleExit * 1e9)
    }
    if let acceptsAgainAt { end = min(end ?? .max, acceptsAgainAt) }
    for client in clients.values {
      if let time = client.leavesAt { end = min(end ?? .max, time) }
    }
    if let time = hostsWatchTime { end = min(end ?? .max, time) }
    guard let end else { return -1 }
    let now = monotonicNanoseconds()
    return end <= now ? 0 : CInt(clamping: (end - now) / 1_000_000 + 1)
  }

  private func noteIdleness() {
    guard isIdle else {
      idleSince = nil
      return
    }
    let now = monotonicNanoseconds()
    guard let since = idleSince, let idleExit = settings.idleExit else {
      idleSince = idleSince ?? now
      return
    }
    guard now >= since + UInt64(idleExit * 1e9) else { return }
    leave(evenIfAsked: false)
  }

  /// Removes the socket and stops.
  ///
  /// - Parameter evenIfAsked: Also when somebody has just connected.
  private func leave(evenIfAsked: Bool) {
    do throws(NetmapError) {
      let lock = try DaemonLock(address, within: evenIfAsked ? 1 : 0)
      var waiting = pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)
      if !evenIfAsked, unsafe poll(&waiting, 1, 0) > 0 {
        idleSince = monotonicNanoseconds()
        return
      }
      if settings.removesSocket { unsafe unlink(address.path) }
      withExtendedLifetime(lock) {}
    } catch {
      // Whoever has the lock is about to connect.
      if error.code.rawValue == ETIMEDOUT, !evenIfAsked {
        idleSince = monotonicNanoseconds()
        return
      }
      log.error("\(error)")
      // Nobody can have bound the path anew as long as this process listens on it.
      if settings.removesSocket { unsafe unlink(address.path) }
    }
    log.info("leaving")
    isStopping = true
  }
}

extension NetmapError.Code {
  /// Whether trying again later may help.
  var isTemporary: Bool { rawValue == EAGAIN || rawValue == ENOBUFS || rawValue == ETOOMANYREFS }
}
