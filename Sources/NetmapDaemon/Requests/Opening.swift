internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Opening ports. The server checks the client's rights, the control thread decides, and the server
// records the binding.

extension Server {
  /// Starts to bind rings to the token on which the request came.
  func register(
    _ message: Message, _ arrival: Arrival, token: Connection, _ reply: PeerSocket
  ) {
    do throws(NetmapError) {
      guard case .token(.unbound) = token.state else {
        throw NetmapError(
          .busy, "register", "token", reason: "the descriptor is already bound",
          remedy: "use a new descriptor")
      }
      var body = message.body
      let request = try body.takeRequest()
      let viewer = try body.takeViewer()
      let client = try client(viewer.rawTag, from: arrival.sender)
      try client.role.check(.register)
      try checkRequests(of: client)
      let namespace = try namespace(of: arrival)
      token.state = .token(.binding)
      ask(
        Request(
          of: client, on: token, reply, namespace: namespace, isRegistration: true,
          viewEnd: viewer.viewEnd
        ) {
          [self] (ticket) throws(NetmapError) in
          try register(request, for: client, in: namespace, ticket)
        })
    } catch {
      log.debug("refused", metadata: ["reason": "\(error)"])
      try? reply.send(Message.refusal(error))
    }
  }

  private func register(
    _ asked: RegisterRequest, for client: Client, in namespace: NamespaceFile?, _ ticket: UInt64
  ) throws(NetmapError) {
    var request = asked
    // Only the daemon's own client may set this bit.
    if client.role != .own { request.extensions.remove(.interfaceOnly) }
    try checkHost(request, client)
    try checkMemory(request, client)
    try checkPorts(of: client, for: request.name)
    if client.isUntrusted {
      let (inside, place) = try restrict(&request, of: client, in: namespace)
      try isolation.open(ticket: ticket, request, as: inside, in: place)
    } else if request.extensions.contains(.isolated) {
      if let namespace { try namespace.checkOwner() }
      try isolation.open(ticket: ticket, request, as: request, in: namespace)
    } else {
      control.put(.register(ticket: ticket, request, namespace))
    }
  }

  /// Refuses memory of the program for an isolated port, whose memory is the daemon's so that no other process sees it.
  private func checkMemory(
    _ request: RegisterRequest, _ client: Client
  ) throws(NetmapError) {
    guard request.memory != nil, client.isUntrusted || request.extensions.contains(.isolated)
    else { return }
    throw NetmapError(
      .unsupported, "open", request.name.rawValue,
      reason: "isolated ports cannot be in memory of the program",
      remedy: "open the port without the option NETMAP_REQ_OPT_EXTMEM (@extmem)")
  }

  /// Starts to look up a port's rings and memory.
  func portInfo(
    _ message: Message, _ arrival: Arrival, from client: Client, _ reply: PeerSocket
  ) {
    decide(client, reply) { [self] (ticket) throws(NetmapError) in
      var body = message.body
      let (request, memoryID) = try body.takePortInfoRequest()
      control.put(
        .portInfo(ticket: ticket, request, memoryID: memoryID, try namespace(of: arrival)))
    }
  }

  /// Starts to look up the pools of a port's memory.
  func poolsInfo(
    _ message: Message, _ arrival: Arrival, from client: Client, _ reply: PeerSocket
  ) {
    decide(client, reply) { [self] (ticket) throws(NetmapError) in
      var body = message.body
      let request = try body.takeRequest()
      control.put(.poolsInfo(ticket: ticket, request, try namespace(of: arrival)))
    }
  }

  /// Queues a request from a client's mailbox to be decided in its turn.
  func decide(
    _ client: Client, _ reply: PeerSocket,
    _ start: @escaping (UInt64) throws(NetmapError) -> Void
  ) {
    guard let mailbox = client.mailbox else { return }
    ask(Request(of: client, on: mailbox, reply, start: start))
  }

  /// The network namespace that a request names by its second descriptor; nil for the daemon's own,
  /// and for a request without one.
  func namespace(of arrival: Arrival) throws(NetmapError) -> NamespaceFile? {
    guard arrival.files.count > 1 else { return nil }
    let sender = arrival.sender
    // The daemon's own client asks on behalf of other processes, whose rights the server has
    // already checked.
    let asker =
      sender.process == getpid()
      ? OpenerRequest.Asker() : .init(process: sender.process, user: sender.user)
    let namespace = try NamespaceFile(arrival.files[1], of: asker)
    guard namespace.number != home?.number else { return nil }
    // The opener checks the namespace if there is one.
    if settings.opener == nil { try namespace.check() }
    return namespace
  }

  /// Handles one answer of the control thread.
  func complete(_ decision: (ticket: UInt64, answer: ControlThread.Answer)) {
    let ticket = decision.ticket
    switch decision.answer {
    case .left(let vale):
      if crowded.remove(vale) != nil { wakeNeighbours(of: [vale]) }
      tellNeighbours(on: vale)
    case .monitorsLeft(let set):
      wakeNeighbours(of: [set])
      tellNeighbours(on: set)
    case .linkEnded(let id): endLink(id)
    case .interfaceEnded(let name): endInterface(name)
    case .switched(let result): complete(ticket, result)
    case .needsCarrier(let request, let namespace): carry(request, ticket, in: namespace)
    case .workFinished(let tag): finish(tag)
    case .looked(let tag, let isGone): hasLooked(at: tag, isGone: isGone)
    case .redirected(let process, let result): hasRedirected(process, result)
    case .foundSwitch(let result): loadModule(ticket, result)
    case .hostStarted(let result): begin(ticket, result)
    case .checked(let report): hasChecked(ticket, report)
    case .dumped(let result): hasDumped(ticket, result)
    case .tuned(let result): hasTuned(ticket, result)
    case .encoded(let result): hasEncoded(ticket, result)
    case .connected(let result): hasConnected(ticket, result)
    case .portInfo(let result): finish(ticket, result) { info, writer in writer.put(info) }
    case .poolsInfo(let result): finish(ticket, result) { info, writer in writer.put(info) }
    case .registered(let result):
      finish(ticket, result) { (bound, request) throws(NetmapError) in try book(bound, request) }
    case .isolated(let result):
      finish(ticket, result) { (opened, request) throws(NetmapError) in try book(opened, request) }
    }
  }

  private func finish<T>(
    _ ticket: UInt64, _ result: Result<T, NetmapError>, _ put: (T, inout MessageWriter) -> Void
  ) {
    switch result {
    case .success(let value): finish(ticket, (Message.bytes(.done) { put(value, &$0) }, []))
    case .failure(let error): finish(ticket, error)
    }
  }

  private func finish<T>(
    _ ticket: UInt64, _ result: Result<T, NetmapError>,
    _ book: (T, Request) throws(NetmapError) -> Reply
  ) {
    guard let request = pending[ticket] else { return }
    do throws(NetmapError) {
      finish(ticket, try book(try result.get(), request))
    } catch {
      finish(ticket, error)
    }
  }

  /// Records a new binding.
  func book(
    _ bound: ControlThread.Bound, _ request: Request
  ) throws(NetmapError) -> Reply {
    let registration = bound.registration
    do throws(NetmapError) {
      guard let token = connections[request.connection], case .token(.binding) = token.state,
        let client = clients[request.client.slot], client.tag == request.client,
        !client.hasHungUp
      else {
        throw NetmapError(
          .badDescriptor, "register", "token", reason: "it was closed in the meantime")
      }
      let reply = try describe(bound)
      let binding = OpenBinding(
        registration, in: request.namespace, process: client.process, tokenKey: token.key,
        viewer: client.tag, viewEnd: request.viewEnd)
      binding.recipe = bound.recipe
      noteHost(binding)
      binding.user = client.user
      binding.isUntrusted = client.isUntrusted
      bindings[registration.id] = binding
      tokens[token.key] = registration.id
      token.state = .token(.bound(registration.id))
      client.seen.insert(registration.id)
      client.lastOpen = monotonicNanoseconds()
      introduce(client, to: binding.segment)
      if let vale = binding.vale { tellNeighbours(on: vale) }
      tellMonitors(of: binding)
      note(registration)
      log.info(
        "opened",
        metadata: [
          "port": "\(registration.name)", "process": "\(client.process)",
          "backend": "\(registration.backend.map { "\($0.name) \($0.mode)" } ?? "none")",
        ])
      return reply
    } catch {
      control.put(
        .release(
          registration.id, keepsViews: false, request.namespace, vale: registration.place?.serial)
      )
      throw error
    }
  }

  /// Logs the remarks on the interface of a port.
  func note(_ registration: Registration) {
    for remark in registration.backend?.remarks ?? [] {
      log.info("\(remark)", metadata: ["port": "\(registration.name)"])
    }
  }

  func describe(_ bound: ControlThread.Bound) throws(NetmapError) -> Reply {
    let registration = bound.registration
    var files = FileTable(
      after: [registration.region.descriptor, registration.segment.memory.descriptor]
        + (registration.place.map { [$0.segment.memory.descriptor] } ?? []))
    var recipe = MessageWriter()
    if let rings = bound.recipe {
      try recipe.put(rings, named: registration.name.rawValue, files: &files)
    }
    let bytes = Message.bytes(.done) {
      $0.put(registration)
      $0.put(registration.place)
      $0.put(UInt8(bound.recipe == nil ? 0 : 1))
      $0.put(raw: recipe.bytes)
    }
    return (bytes, files.files)
  }
}
