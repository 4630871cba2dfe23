internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

/// A request that the control thread is deciding, and what to do then.
struct PendingRequest {
  let reply: MessageSocket
  /// For a registration: the token that it is for, and the process that asked.
  let token: (key: UInt64, client: ClientTag, namespace: NamespaceFile?)?
}

// Opening ports. The server checks who asks, the control thread decides, the server keeps the books.

extension Server {
  /// Has rings bound to the token that the request came on.
  func register(_ message: Message, _ mail: MessageSocket.Datagram, tokenKey: UInt64) {
    decide(mail) { (reply, ticket) throws(NetmapError) in
      let isTaken =
        tokens[tokenKey] != nil || pending.values.contains { $0.token?.key == tokenKey }
      guard !isTaken else {
        throw NetmapError(
          .busy, "register", "token", reason: "the descriptor is bound already",
          remedy: "open another one")
      }
      guard sources[tokenKey] != nil else {
        throw NetmapError(.badDescriptor, "register", "token", reason: "it is closed")
      }
      var body = message.body
      var request = try body.takeRequest()
      let client = try client(try body.take(UInt64.self), on: reply)
      try checkHost(request, client)
      let namespace = try namespace(of: mail)
      if isOther(client) { try restrict(&request, of: client) }
      if request.flags.contains(.isolated) {
        try isolation.open(ticket: ticket, request, in: namespace)
      } else {
        control.put(.register(ticket: ticket, request, namespace))
      }
      return (tokenKey, client.tag, namespace)
    }
  }

  /// Has a port's memory looked up.
  func portInfo(_ message: Message, _ mail: MessageSocket.Datagram) {
    decide(mail) { (_, ticket) throws(NetmapError) in
      var body = message.body
      let request = try body.takeRequest()
      control.put(.portInfo(ticket: ticket, request, try namespace(of: mail)))
      return nil
    }
  }

  /// The network namespace of the process that sent a request: its second descriptor.
  func namespace(of mail: MessageSocket.Datagram) throws(NetmapError) -> NamespaceFile? {
    mail.files.count > 1 ? try NamespaceFile(mail.files[1]) : nil
  }

  /// Puts a request before the control thread, or answers it at once with the reason why not.
  func decide(
    _ mail: MessageSocket.Datagram,
    _ body: (MessageSocket, UInt64) throws(NetmapError) -> (UInt64, ClientTag, NamespaceFile?)?
  ) {
    // A request without a way to answer it is nobody's.
    guard let file = mail.files.first, let copy = try? file.duplicate() else { return }
    let reply = MessageSocket(owning: copy)
    // Whatever has ended by now is put before it.
    reap()
    lastTicket += 1
    do throws(NetmapError) {
      let token = try body(reply, lastTicket)
      pending[lastTicket] = PendingRequest(
        reply: reply, token: token.map { (key: $0.0, client: $0.1, namespace: $0.2) })
    } catch {
      log.debug("refused", metadata: ["reason": "\(error)"])
      // Who asked may have gone; its token tells.
      try? reply.send(Message.refusal(error), waits: false)
    }
  }

  /// What the control thread has decided: booked, and answered.
  func complete(_ decision: (ticket: UInt64, answer: ControlThread.Answer)) {
    switch decision.answer {
    case .left(let bridge):
      if crowded.remove(bridge) != nil { wakeNeighbours(of: [bridge]) }
      return tellNeighbours(on: bridge)
    case .linkEnded(let id): return endLink(id)
    case .interfaceEnded(let name): return endInterface(name)
    case .switched(let result): return complete(decision.ticket, result)
    default: break
    }
    guard let request = pending.removeValue(forKey: decision.ticket) else { return }
    let reply: Reply
    do throws(NetmapError) {
      switch decision.answer {
      case .left, .linkEnded, .interfaceEnded, .switched: return
      case .isolated(let result): reply = try book(try result.get(), request)
      case .memory(let result):
        let memory = try result.get()
        reply = (Message.bytes(.done) { $0.put(memory) }, [])
      case .registered(let result): reply = try book(try result.get(), request)
      }
    } catch {
      log.debug("refused", metadata: ["reason": "\(error)"])
      reply = (Message.refusal(error), [])
    }
    try? request.reply.send(reply.bytes, reply.files, waits: false)
  }

  func book(
    _ bound: ControlThread.Bound, _ request: PendingRequest
  ) throws(NetmapError) -> Reply {
    let registration = bound.registration
    do throws(NetmapError) {
      guard let token = request.token, sources[token.key] != nil,
        let client = clients[token.client.slot], client.tag == token.client
      else {
        throw NetmapError(.badDescriptor, "register", "token", reason: "it was closed meanwhile")
      }
      let reply = try describe(bound)
      let binding = OpenBinding(
        registration, in: token.namespace, process: client.process, tokenKey: token.key,
        viewer: client.tag)
      binding.attachment = bound.attachment
      noteHost(binding)
      binding.user = client.user
      bindings[registration.id] = binding
      tokens[token.key] = registration.id
      client.seen.insert(registration.id)
      introduce(client, to: binding.segment)
      if let bridge = binding.bridge { tellNeighbours(on: bridge) }
      log.info(
        "opened",
        metadata: [
          "port": "\(registration.name)", "process": "\(client.process)",
          "backend": "\(registration.backend.map { "\($0.name) \($0.mode)" } ?? "none")",
        ])
      return reply
    } catch {
      control.put(.release(registration.id, keepsViews: false, request.token?.namespace))
      throw error
    }
  }

  func describe(_ bound: ControlThread.Bound) throws(NetmapError) -> Reply {
    let registration = bound.registration
    var files = FileTable(
      after: [registration.region.descriptor, registration.segment.memory.descriptor]
        + (registration.place.map { [$0.segment.memory.descriptor] } ?? []))
    var attachment = MessageWriter()
    if let rings = bound.attachment {
      try attachment.put(rings, named: registration.name.rawValue, files: &files)
    }
    let bytes = Message.bytes(.done) {
      $0.put(registration)
      $0.put(registration.place)
      $0.put(UInt8(bound.attachment == nil ? 0 : 1))
      $0.put(raw: attachment.bytes)
    }
    return (bytes, files.files)
  }
}
