internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// What clients ask for. Nothing they send is believed; whatever is wrong with it, they get an answer
// or lose their connection, and nobody else notices.

extension Server {
  /// Reads one message of a connection that is a token, or nothing yet.
  func serve(_ socket: MessageSocket, _ key: UInt64) {
    do throws(NetmapError) {
      makeRoom()
      guard let mail = try socket.receive(waits: false) else { return }
      guard !mail.bytes.isEmpty else { return endConnection(key) }
      let message = try Message(mail.bytes)
      switch message.kind {
      case .hello where tokens[key] == nil && mail.files.isEmpty: try welcome(socket, key)
      case .register: register(message, mail, tokenKey: key)
      case .hello: adopt(mail)
      case .attach:
        answer(mail) { (reply) throws(NetmapError) in
          try attach(message, tokenKey: key, by: reply)
        }
      default: throw message.body.malformed("it is not expected here")
      }
    } catch {
      log.notice("a client's message is refused", metadata: ["reason": "\(error)"])
      // It waits for an answer; a connection that is closed could only be guessed about.
      try? socket.send(Message.refusal(error), waits: false)
      endConnection(key)
    }
  }

  /// Reads one message of a process's mailbox.
  func serve(_ client: Client) {
    do throws(NetmapError) {
      makeRoom()
      guard let mail = try client.mailbox.receive(waits: false) else { return }
      guard !mail.bytes.isEmpty else { return end(client, because: "it hung up") }
      var message = try Message(mail.bytes)
      switch message.kind {
      case .forget:
        forget(BindingID(number: try message.body.take(UInt64.self)), by: client.tag)
      case .portInfo: portInfo(message, mail)
      case .control: control(message, mail, from: client)
      case .list: answer(mail) { (_) throws(NetmapError) in try list(message) }
      case .check: answer(mail) { (_) throws(NetmapError) in check() }
      default: throw message.body.malformed("it is not expected here")
      }
    } catch {
      end(client, because: "of its message: \(error)")
    }
  }

  /// What goes back to a client: bytes, and descriptors that go with them.
  typealias Reply = (bytes: [UInt8], files: [CInt])

  /// Answers a request on the socket that came with it.
  func answer(
    _ mail: MessageSocket.Datagram, _ body: (MessageSocket) throws(NetmapError) -> Reply
  ) {
    // A request without a way to answer it is nobody's.
    guard let file = mail.files.first, let copy = try? file.duplicate() else { return }
    let socket = MessageSocket(owning: copy)
    reap()
    let reply: Reply
    do throws(NetmapError) {
      reply = try body(socket)
    } catch {
      log.debug("refused", metadata: ["reason": "\(error)"])
      reply = (Message.refusal(error), [])
    }
    // Who asked may have gone; its token tells.
    try? socket.send(reply.bytes, reply.files, waits: false)
  }

  // MARK: - Becoming a client

  func welcome(
    _ socket: MessageSocket, _ key: UInt64
  ) throws(NetmapError) {
    guard let peer = socket.peer else { throw systemError("getsockopt(SO_PEERCRED)", "netmapd") }
    reap()
    // It may have hung up since: then nothing would ever end this client.
    guard case .connection = sources[key] else {
      throw NetmapError(.badDescriptor, "connect", "netmapd", reason: "the process hung up")
    }
    let isStranger = settings.isolatesOthers && peer.user != 0 && peer.user != geteuid()
    if isStranger { try admit(stranger: peer.user) }
    let doorbell = try Doorbell(isTrusted: !isStranger)
    let pidfd = clinux_pidfd_open(peer.process)
    // Without one (an old kernel, a process that has ended already) its mailbox tells of its end.
    let death = pidfd >= 0 ? OwnedFile(pidfd) : nil
    let tag = try engine.addClient(process: peer.process)
    let client = Client(
      tag: tag, process: peer.process, user: peer.user, group: peer.group, mailbox: socket,
      mailboxKey: key,
      doorbell: doorbell, death: death, isStranger: isStranger)
    do throws(NetmapError) {
      if let death { _ = try watch(death.descriptor) { _ in .death(client) } }
    } catch {
      engine.removeClient(tag)
      throw error
    }
    sources[key] = .mailbox(client)
    clients[tag.slot] = client
    widenQueue(of: socket)
    let answer = Message.bytes(.done) {
      $0.put(UInt32(tag.slot))
      $0.put(tag.epoch)
    }
    try? socket.send(
      answer, [engine.directory.memory.descriptor, doorbell.watched.descriptor], waits: false)
    log.debug("attached", metadata: ["process": "\(peer.process)", "slot": "\(tag.slot)"])
  }

  /// Room for the doorbells of many processes, even if this one never looks.
  private func widenQueue(of socket: MessageSocket) {
    var size: CInt = 1 << 20
    let length = socklen_t(MemoryLayout<CInt>.size)
    if unsafe setsockopt(
      socket.descriptor, SOL_SOCKET, CInt(CLINUX_SO_SNDBUFFORCE), &size, length) != 0
    {
      _ = unsafe setsockopt(socket.descriptor, SOL_SOCKET, SO_SNDBUF, &size, length)
    }
  }

  /// The client that a request says it is from, if it is.
  func client(
    _ rawTag: UInt64, on reply: MessageSocket
  ) throws(NetmapError) -> Client {
    guard let client = clients[Int(rawTag & 0xffff_ffff)], client.tag.rawValue == rawTag,
      reply.peer?.process == client.process
    else {
      throw NetmapError(
        .badDescriptor, "register", "token", reason: "the process is not attached",
        remedy: "connect again")
    }
    return client
  }

  /// Before a process learns of a port, everybody on it learns its doorbell, and it theirs.
  func introduce(_ client: Client, to segment: ObjectIdentifier) {
    for other in viewers(of: segment) where other !== client {
      for (one, two) in [(client, other), (other, client)]
      where one.learn(two, bell: bell(of: two, for: one)) {
        queue.watch(one.mailbox.descriptor, key: one.mailboxKey, writing: true)
      }
    }
  }

  private func viewers(of segment: ObjectIdentifier) -> [Client] {
    let slots = Set(
      bindings.values.filter { $0.segment == segment }.flatMap { $0.viewers.map(\.slot) })
    return slots.compactMap { clients[$0] }
  }

  // MARK: - Ends

  /// The last copy of a connection was closed.
  func endConnection(_ key: UInt64) {
    guard case .connection(let socket) = sources.removeValue(forKey: key) else { return }
    queue.remove(socket.descriptor)
    guard let id = tokens.removeValue(forKey: key), let binding = bindings[id] else { return }
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

  /// A process is gone: what it locked is free, and nothing is kept for its eyes any more.
  func end(_ client: Client, because reason: String) {
    guard clients[client.tag.slot] === client else { return }
    clients[client.tag.slot] = nil
    sources[client.mailboxKey] = nil
    if client.leavesAt == nil { queue.remove(client.mailbox.descriptor) }
    for (key, source) in sources {
      if case .death(let other) = source, other === client { sources[key] = nil }
    }
    if let death = client.death { queue.remove(death.descriptor) }
    let bridges = Set(client.seen.compactMap { bindings[$0]?.bridge })
    // What it was filling says its kring, as long as that is locked.
    if !bridges.isEmpty { engine.finishLeases(of: client.tag) }
    // Bindings that only it had end by themselves; others may have the rest. Rarely is there anything to do.
    let exchanges = client.seen.contains { id in
      bindings[id]?.registration.segment.hasExchange(of: client.tag) ?? false
    }
    if exchanges { engine.finishExchanges(of: client.tag) }
    var locks = 0
    for id in client.seen {
      guard let binding = bindings[id] else { continue }
      locks += binding.registration.segment.releaseLocks(of: client.tag)
      wakeEverybody(on: binding.segment)
      binding.viewers.remove(client.tag)
      dropIfUnseen(binding)
    }
    wakeNeighbours(of: bridges)
    for other in clients.values { other.unlearn(client.tag) }
    engine.removeClient(client.tag)
    locksReleased += UInt64(locks)
    log.debug(
      "detached",
      metadata: [
        "process": "\(client.process)", "reason": "\(reason)", "locks released": "\(locks)",
      ])
  }

  /// Has every process that shares a segment look again: one that died may have taken a sleeper's
  /// announcement, and not lived to ring.
  private func wakeEverybody(on segment: ObjectIdentifier) {
    for client in viewers(of: segment) { client.ring() }
    for binding in bindings.values where binding.segment == segment { binding.ring() }
  }

  func forget(_ id: BindingID, by tag: ClientTag) {
    guard let binding = bindings[id] else { return }
    binding.viewers.remove(tag)
    clients[tag.slot]?.seen.remove(id)
    dropIfUnseen(binding)
    if let bridge = binding.bridge { tellNeighbours(on: bridge) }
  }

  private func dropIfUnseen(_ binding: OpenBinding) {
    guard !binding.isOpen, binding.viewers.isEmpty else { return }
    let id = binding.registration.id
    guard bindings.removeValue(forKey: id) != nil else { return }
    control.put(.forget(id))
  }
}
