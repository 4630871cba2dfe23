internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Connections end, and so do clients: one after the other, and neither because of the other. A lock is
// released when its holder cannot be in the middle of a sync any more, and never before.

extension Server {
  /// Nobody has the other end of a connection any more.
  func hangUp(_ connection: Connection) {
    if case .mailbox(let client) = connection.state {
      hangUp(client, because: "it hung up")
    } else {
      endToken(connection)
    }
  }

  /// A process is not talked to any more: it closed its mailbox, which ending and becoming another program do,
  /// or broke the rules. Its slot, and what it has locked, stay until it cannot write any more.
  func hangUp(_ client: Client, because reason: String) {
    guard let mailbox = client.mailbox else { return }
    client.mailbox = nil
    client.mail.clear()
    drop(mailbox)
    client.nextLook = monotonicNanoseconds() + Self.leaveTime
    log.debug("hung up", metadata: ["process": "\(client.process)", "reason": "\(reason)"])
  }

  /// How long after a process hung up it is looked at first: it gives up sockets of interfaces in that.
  private static let leaveTime: UInt64 = 50_000_000
  /// How often after that.
  private static let lookPause: UInt64 = 1_000_000_000

  /// Looks at those that hung up and live: whether they have become other programs.
  ///
  /// - Parameter now: What time counts as now, monotonic nanoseconds.
  func lookAtLeavers(by now: UInt64 = monotonicNanoseconds()) {
    for client in clients.values {
      guard let time = client.nextLook, time != .max, time <= now else { continue }
      // One that has no port has nothing to write to.
      if client.seen.isEmpty {
        end(client, because: "it hung up")
        continue
      }
      // The answer can take longer than the server has.
      client.nextLook = .max
      closer.run(for: client.user) { [control, mark = client.mark, tag = client.tag] in
        control.answer(0, .looked(tag, isGone: mark.isGone))
      }
    }
  }

  /// Ends those that hung up and have no port, which have nothing to write to.
  func endPortless() {
    for client in clients.values where client.hasHungUp && client.seen.isEmpty {
      end(client, because: "it hung up")
    }
  }

  func hasLooked(at tag: ClientTag, isGone: Bool) {
    guard let client = clients[tag.slot], client.tag == tag else { return }
    if isGone { return end(client, because: "it became another program") }
    client.hasBeenSeen = true
    client.nextLook = monotonicNanoseconds() + Self.lookPause
  }

  /// The last copy of a token, or of what could have become one, was closed.
  func endToken(_ connection: Connection) {
    drop(connection)
    guard case .token(.bound(let id)) = connection.state, let binding = bindings[id] else { return }
    tokens[connection.key] = nil
    binding.isOpen = false
    if let place = binding.registration.place, unsafe place.segment.view.holdsAny {
      crowded.insert(place.serial)
    }
    control.put(
      .release(
        id, keepsViews: !binding.viewers.isEmpty, binding.namespace, bridge: binding.bridge))
    if let link = binding.link { link.worker.close(link.number) }
    log.info("closed", metadata: ["port": "\(binding.registration.name)"])
    dropIfUnseen(binding)
  }

  /// Nothing of a process can write any more: what it locked is free, and nothing is kept for its eyes.
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
    // What it was filling or exchanging says its kring, as long as that is locked. Rarely is there anything.
    let hasWork = client.seen.contains { id in
      guard let binding = bindings[id] else { return false }
      return binding.bridge != nil || binding.registration.segment.hasExchange(of: client.tag)
    }
    guard hasWork else { return finish(client.tag) }
    control.put(.finishWork(client.tag))
  }

  /// What a client that has ended was in the middle of is finished: its locks can be released.
  func finish(_ tag: ClientTag) {
    guard let client = ending.removeValue(forKey: tag) else { return }
    let bridges = Set(client.seen.compactMap { bindings[$0]?.bridge })
    var locks = 0
    for id in client.seen {
      guard let binding = bindings[id] else { continue }
      locks += binding.registration.segment.releaseLocks(of: tag)
      wakeEverybody(on: binding.segment)
      expel(tag, from: binding)
      binding.viewers.remove(tag)
      dropIfUnseen(binding)
    }
    wakeNeighbours(of: bridges)
    engine.removeClient(tag)
    locksReleased += UInt64(locks)
    for serial in bridges { tellNeighbours(on: serial) }
    log.debug(
      "detached", metadata: ["process": "\(client.process)", "locks released": "\(locks)"])
  }

  /// Has every process that shares a segment look again: one that died may have taken a sleeper's
  /// announcement, and not lived to ring.
  private func wakeEverybody(on segment: ObjectIdentifier) {
    for client in viewers(of: segment) { client.ring() }
    for binding in bindings.values where binding.segment == segment { binding.ring() }
  }

  /// A process looks at a port's rings no more.
  func forget(_ id: BindingID, by tag: ClientTag) {
    guard let binding = bindings[id], binding.viewers.remove(tag) != nil else { return }
    clients[tag.slot]?.seen.remove(id)
    expel(tag, from: binding)
    dropIfUnseen(binding)
    if let bridge = binding.bridge { tellNeighbours(on: bridge) }
  }

  func dropIfUnseen(_ binding: OpenBinding) {
    guard !binding.isOpen, !binding.isCarried, binding.viewers.isEmpty else { return }
    let id = binding.registration.id
    guard bindings.removeValue(forKey: id) != nil else { return }
    control.put(.forget(id))
  }
}
