internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// The ends of connections and clients. They are independent of each other. The server releases a
// lock only when its holder can no longer be in the middle of a sync.

extension Server {
  /// Handles the end of a connection: no process has its other end any more.
  func hangUp(_ connection: Connection) {
    if case .mailbox(let client) = connection.state {
      takeForgets(of: client, from: connection.socket)
      hangUp(client, because: "it hung up")
    } else {
      endToken(connection)
    }
  }

  /// The most messages that the server reads from a mailbox that is closed already.
  private static let lastMessagesMax = 256

  /// Reads what a client sent before it closed its mailbox, and handles the messages that end its use of ports.
  ///
  /// Without these messages the server would keep the client's closed ports for as long as the process lives.
  private func takeForgets(of client: Client, from socket: PeerSocket) {
    for _ in 0..<Self.lastMessagesMax where !client.seen.isEmpty {
      switch socket.receive() {
      case .nothing, .end: return
      // The kernel reports once that the client had not read all its mail.
      case .refused, .lost: continue
      case .message(let arrival):
        guard arrival.sender.process == client.process, let message = try? Message(arrival.bytes),
          message.kind == .forget
        else { continue }
        var body = message.body
        guard let number = try? body.take(UInt64.self) else { continue }
        forget(BindingID(number: number), by: client.tag)
      }
    }
  }

  /// Ends the conversation with a client that has closed its mailbox or violated the protocol.
  ///
  /// A process also closes its mailbox when it ends or becomes another program.
  ///
  /// The client's slot and locks stay until its process cannot write to shared memory any more.
  func hangUp(_ client: Client, because reason: String) {
    guard let mailbox = client.mailbox else { return }
    client.mailbox = nil
    client.mail.clear()
    drop(mailbox)
    client.nextLook = monotonicNanoseconds() + Self.leaveTime
    log.debug("hung up", metadata: ["process": "\(client.process)", "reason": "\(reason)"])
  }

  /// How long after a hang-up the server first checks the process, nanoseconds.
  ///
  /// In that time an ending process gives up its sockets of interfaces.
  private static let leaveTime: UInt64 = 50_000_000
  /// The pause between later checks, nanoseconds.
  private static let lookPause: UInt64 = 1_000_000_000

  /// Checks whether processes that hung up but live have become other programs.
  ///
  /// - Parameter now: The time up to which checks are due, monotonic nanoseconds.
  func lookAtLeavers(by now: UInt64 = monotonicNanoseconds()) {
    for client in clients.values {
      guard let time = client.nextLook, time != .max, time <= now else { continue }
      // A client without a port has no memory to write to.
      if client.seen.isEmpty {
        end(client, because: "it hung up")
        continue
      }
      // The check can take too long for the server's thread.
      client.nextLook = .max
      closer.run(for: client.user) { [control, mark = client.mark, tag = client.tag] in
        control.answer(0, .looked(tag, isGone: mark.isGone))
      }
    }
  }

  /// Ends clients that hung up and have no port, and so no memory to write to.
  func endPortless() {
    for client in clients.values where client.hasHungUp && client.seen.isEmpty {
      end(client, because: "it hung up")
    }
  }

  func hasLooked(at tag: ClientTag, isGone: Bool) {
    guard let client = clients[tag.slot], client.tag == tag else { return }
    if isGone { return end(client, because: "it executed another program") }
    client.hasBeenSeen = true
    client.nextLook = monotonicNanoseconds() + Self.lookPause
  }

  /// Handles the close of the last copy of a token, or of a fresh connection.
  func endToken(_ connection: Connection) {
    drop(connection)
    endBinding(of: connection)
  }

  /// Ends the binding of a token, whose copies stay open: it can be bound again.
  func unbind(_ connection: Connection) {
    endBinding(of: connection)
    if case .token(.bound) = connection.state { connection.state = .token(.unbound) }
  }

  private func endBinding(of connection: Connection) {
    guard case .token(.bound(let id)) = connection.state, let binding = bindings[id] else { return }
    tokens[connection.key] = nil
    endViews(of: binding)
    binding.isOpen = false
    if let place = binding.registration.place, unsafe place.segment.view.holdsAny {
      crowded.insert(place.serial)
    }
    control.put(
      .release(
        id, keepsViews: !binding.viewers.isEmpty, binding.namespace, vale: binding.vale))
    if let link = binding.link { link.worker.close(link.number) }
    log.info("closed", metadata: ["port": "\(binding.registration.name)"])
    dropIfUnseen(binding)
  }

  // MARK: - Views that end with the token

  /// The pause between two checks whether a sync of a closed port has ended, nanoseconds.
  private static let viewPause: UInt64 = 10_000_000

  /// Ends the views of clients that have given them up by closing the last copy of the token.
  ///
  /// A client in the middle of a sync, on another thread than the one that closed the token, keeps its view until the
  /// sync has ended, as a system call on a file keeps the file.
  private func endViews(of binding: OpenBinding) {
    for tag in binding.viewersUntilClose {
      guard !binding.registration.segment.isLocked(by: tag) else {
        viewsEndAgainAt = viewsEndAgainAt ?? monotonicNanoseconds() + Self.viewPause
        continue
      }
      forget(binding.registration.id, by: tag)
    }
  }

  /// Ends the views that a sync has kept at the close of their tokens, if it is time to look.
  func endViewsIfDue() {
    guard let time = viewsEndAgainAt, monotonicNanoseconds() >= time else { return }
    viewsEndAgainAt = nil
    for binding in bindings.values where !binding.isOpen { endViews(of: binding) }
  }

  /// Ends a client whose process can no longer write to shared memory.
  ///
  /// Its locks are released, and nothing is kept for it any more.
  func end(_ client: Client, because reason: String) {
    guard clients[client.tag.slot] === client else { return }
    hangUp(client, because: reason)
    clients[client.tag.slot] = nil
    ending[client.tag] = client
    sources[client.deathKey] = nil
    urgent.remove(client.death.descriptor)
    if client.wakesWorker { isolation.current?.worker.ignore(client.bell) }
    for other in clients.values { other.mail.forget(client.tag) }
    log.debug("ended", metadata: ["process": "\(client.process)", "reason": "\(reason)"])
    // While a kring is locked, it says which leases and exchanges its holder has not finished.
    // There are rarely any.
    let hasWork = client.seen.contains { id in
      guard let binding = bindings[id] else { return false }
      return binding.vale != nil || binding.registration.segment.hasExchange(of: client.tag)
        || !control.neighbours(on: binding.registration.monitors).isEmpty
    }
    guard hasWork || control.holdsRings else { return finish(client.tag) }
    control.put(.finishWork(client.tag))
  }

  /// Completes the end of a client once its leases and exchanges are finished: releases its locks.
  func finish(_ tag: ClientTag) {
    guard let client = ending.removeValue(forKey: tag) else { return }
    let switches = Set(client.seen.compactMap { bindings[$0]?.vale })
    let sets = Set(client.seen.flatMap { bindings[$0]?.sets ?? [] })
      .filter { knowsMonitors(of: $0) }
    var locks = 0
    for id in client.seen {
      guard let binding = bindings[id] else { continue }
      locks += binding.registration.segment.releaseLocks(of: tag)
      _ = binding.registration.segment.releaseLoops(of: tag)
      wakeEverybody(on: binding.segment)
      expel(tag, from: binding)
      binding.remove(tag)
      dropIfUnseen(binding)
    }
    wakeNeighbours(of: switches.union(sets))
    engine.removeClient(tag)
    locksReleased += UInt64(locks)
    for serial in switches.union(sets) { tellNeighbours(on: serial) }
    log.debug(
      "detached", metadata: ["process": "\(client.process)", "locks released": "\(locks)"])
  }

  /// Wakes all clients that share a segment.
  ///
  /// A dead client may have taken a sleeper's announcement without ringing its doorbell.
  private func wakeEverybody(on segment: ObjectIdentifier) {
    for client in viewers(of: segment) { client.ring() }
    for binding in bindings.values where binding.segment == segment { binding.ring() }
  }

  /// Records that a client no longer uses a port's rings.
  func forget(_ id: BindingID, by tag: ClientTag) {
    guard let binding = bindings[id], binding.remove(tag) else { return }
    clients[tag.slot]?.seen.remove(id)
    expel(tag, from: binding)
    dropIfUnseen(binding)
    if let vale = binding.vale { tellNeighbours(on: vale) }
    tellMonitors(of: binding)
  }

  func dropIfUnseen(_ binding: OpenBinding) {
    guard !binding.isOpen, !binding.isCarried, binding.viewers.isEmpty else { return }
    let id = binding.registration.id
    guard bindings.removeValue(forKey: id) != nil else { return }
    control.put(.forget(id))
  }
}
