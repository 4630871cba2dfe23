internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// This process as a client of one daemon: its mailbox, its slot and its doorbell.
///
/// Control calls send requests to the daemon and wait for its answers. The data path of open ports
/// never passes through this object and continues after the daemon has gone. All calls may be made
/// from any thread. In a fork child every call throws `EBADF`.
@safe
package final class DaemonConnection: Sendable {
  package let address: DaemonAddress
  /// The daemon's number, which no other daemon has.
  ///
  /// Processes that keep regions mapped by their number (`nr_mem_id`) must keep them by this number as well.
  package let instance: UInt64
  package let doorbells: DoorbellTable
  package let directory: Directory
  /// The tag with which this process locks rings.
  package let tag: ClientTag
  /// The mail that a worker of this process reads.
  package var mail: Worker.Mail { mailbox.mail }

  let mailbox: Mailbox
  private let life: MarkedLife
  let way: Way
  /// The number of objects in this process that use a binding's rings, by binding.
  private let views = Mutex<[UInt64: Int]>([:])
  private nonisolated(unsafe) let process = unsafe ForkGuard.Mark()

  /// Makes this process a client of the daemon, which it starts if none runs.
  ///
  /// - Parameters:
  ///   - address: The daemon's address; nil for the first of ``DaemonAddress/candidates()`` at
  ///     which a daemon listens.
  ///   - starts: Whether to start a daemon if none runs. Has no effect with an `address`.
  /// - Throws: ``NetmapError`` when this user may not use the daemon, or when no daemon can be
  ///   started.
  package convenience init(
    address: DaemonAddress? = nil, starts: Bool = true
  ) throws(NetmapError) {
    if let address {
      guard let connection = try address.connect() else {
        throw DaemonAddress.nobodyListens(at: address)
      }
      try DaemonAnswer.send(Message.bytes(.hello), [], on: connection)
      try self.init(address, connection)
    } else {
      let (address, connection) = try DaemonAddress.reach(starts: starts)
      try DaemonAnswer.send(Message.bytes(.hello), [], on: connection)
      try self.init(address, connection)
    }
  }

  /// How a daemon that is a client of itself connects to itself.
  package struct Way: Sendable {
    /// Makes another connection; nil where no daemon listens.
    let connect: @Sendable (DaemonAddress.Purpose) throws(NetmapError) -> MessageSocket?
    /// The network namespace in which the calling thread looks up interfaces; the caller owns it.
    let namespace: @Sendable (PortName) throws(NetmapError) -> OwnedFile?

    package init(
      connect: @escaping @Sendable (DaemonAddress.Purpose) throws(NetmapError) -> MessageSocket?,
      namespace: @escaping @Sendable (PortName) throws(NetmapError) -> OwnedFile?
    ) {
      self.connect = connect
      self.namespace = namespace
    }
  }

  /// Makes a daemon a client of itself.
  ///
  /// - Parameters:
  ///   - address: The daemon's address.
  ///   - way: How the daemon connects to itself.
  /// - Throws: The ``NetmapError`` that the daemon answers with.
  package convenience init(address: DaemonAddress, _ way: Way) throws(NetmapError) {
    guard let connection = try way.connect(.mailbox) else { throw DaemonAnswer.hungUp("connect") }
    try DaemonAnswer.send(Message.bytes(.hello), [], on: connection)
    try self.init(address, connection, way)
  }

  /// Makes this process a client of the daemon that made a token.
  ///
  /// Needs no path to the daemon's socket.
  ///
  /// - Throws: ``NetmapError`` as ``Token/daemon()``, before it sends anything; or the error that
  ///   the daemon's end causes.
  package convenience init(through token: Token) throws(NetmapError) {
    let address = try token.daemon()
    let (mine, theirs) = try MessageSocket.pair()
    try DaemonAnswer.send(Message.bytes(.hello), [theirs.descriptor], on: token.open())
    // Close this process's copy of the peer's end. Otherwise the daemon's death would not end the
    // wait.
    theirs.close()
    let mail: MessageSocket.Datagram
    do throws(NetmapError) {
      mail = try DaemonAnswer.receive(on: mine, "connect", within: DaemonAddress.shortPatience)
    } catch {
      guard error.code.rawValue == ECONNRESET else { throw error }
      throw try DaemonAnswer.whyNoAnswer(on: token.open(), isNew: false, error)
    }
    _ = try Message(mail.bytes).answer()
    try mail.checkFiles()
    guard let mailbox = mail.files.last, mail.files.count >= 4 else {
      throw NetmapError(
        .invalidArgument, "connect", "netmapd", reason: "it sent no mailbox",
        remedy: "use one version of netmap for all processes")
    }
    try self.init(address, MessageSocket(private: try mailbox.duplicate()), mail)
  }

  /// - Parameters:
  ///   - address: The daemon's address.
  ///   - socket: The connection on which a hello has been sent.
  ///   - way: How a daemon connects to itself; nil in other processes.
  /// - Throws: The ``NetmapError`` that the daemon answered with.
  private convenience init(
    _ address: DaemonAddress, _ socket: MessageSocket, _ way: Way? = nil
  ) throws(NetmapError) {
    let mail = try DaemonAnswer.receive(
      on: socket, "connect", within: DaemonAddress.shortPatience)
    try self.init(address, socket, mail, way)
  }

  /// - Parameters:
  ///   - address: The daemon's address.
  ///   - socket: The mailbox.
  ///   - mail: The answer to a hello.
  ///   - way: How a daemon connects to itself; nil in other processes.
  /// - Throws: The ``NetmapError`` that the daemon answered with.
  private init(
    _ address: DaemonAddress, _ socket: MessageSocket, _ mail: MessageSocket.Datagram,
    _ way: Way? = nil
  ) throws(NetmapError) {
    self.address = address
    self.way =
      way
      ?? Way(
        connect: { (purpose) throws(NetmapError) in try address.connect(for: purpose) },
        namespace: { (name) throws(NetmapError) in try Self.namespace(for: name) })
    var body = try Message(mail.bytes).answer()
    try mail.checkFiles()
    let (slot, epoch) = (try body.take(UInt32.self), try body.take(UInt32.self))
    let isShared = try body.take(UInt8.self) != 0
    instance = try body.take(UInt64.self)
    guard slot < Directory.clientCapacity, epoch > 0, mail.files.count >= (isShared ? 4 : 3)
    else {
      throw body.malformed("it names no client")
    }
    tag = ClientTag(slot: slot, epoch: epoch)
    directory = try Directory(
      mapping: SharedMemory(
        mapping: mail.files[0].descriptor, readOnly: true, keepsDescriptor: false))
    life = try MarkedLife(mail.files[2].descriptor)
    let watched = try mail.files[1].duplicate()
    let rung: CInt?
    do throws(NetmapError) {
      rung = isShared ? try mail.files[3].duplicate() : nil
    } catch {
      close(watched)
      throw error
    }
    mailbox = Mailbox(socket)
    doorbells = unsafe try DoorbellTable(
      of: tag, watched: watched, rung: rung, resolver: mailbox.resolver)
    mailbox.deliver(to: doorbells)
  }

  /// Binds rings of a port.
  ///
  /// Interface names are looked up in the calling thread's network namespace.
  ///
  /// - Parameters:
  ///   - request: The port and its rings.
  ///   - token: A token of this daemon that is not bound yet; nil for a new one.
  ///   - viewEnd: When this process's use of the rings ends.
  /// - Returns: The binding and its token.
  /// - Throws: ``NetmapError`` as ``Engine/register(_:)``, `EBUSY` when the token is bound already, or the
  ///   error that the daemon's end causes.
  package func register(
    _ request: RegisterRequest, on token: Token? = nil, viewEnd: ViewEnd = .whenForgotten
  ) throws(NetmapError) -> Opened {
    try checkProcess()
    // Not needed for this request, but a process that only receives packets would otherwise never
    // read its mail.
    mailbox.fetch()
    let isNew = token == nil
    let bound: Token
    if let token {
      // The token may come from any process.
      _ = try token.daemon()
      bound = token
    } else {
      guard let connection = try way.connect(.token) else { throw DaemonAnswer.hungUp("open") }
      bound = Token(connection)
    }
    let answer = try ask(
      Message.bytes(.register) {
        $0.put(request)
        $0.put(client: tag.rawValue, viewEnd: viewEnd)
      }, on: try bound.open(), namespace: try namespace(of: request), isNew: isNew,
      within: DaemonAddress.patience)
    do throws(NetmapError) {
      return try opened(answer, bound, viewEnd)
    } catch {
      // Otherwise the caller's token would stay bound to a port that it does not have.
      if !isNew { unbind(bound) }
      throw error
    }
  }

  /// Maps the rings of a port that another process, or another program in this process, has opened.
  ///
  /// - Parameters:
  ///   - token: A copy of the token.
  ///   - viewEnd: When this process's use of the rings ends.
  /// - Returns: The binding. ``forget(_:)`` ends this use of the binding; closing the last copy of
  ///   the token ends the binding itself.
  /// - Throws: ``NetmapError`` `EBADF` when the token is not bound to a port or belongs to another
  ///   daemon; as ``Token/daemon()``.
  package func mapPort(
    _ token: Token, viewEnd: ViewEnd = .whenForgotten
  ) throws(NetmapError) -> Opened {
    try checkProcess()
    // The token may come from any process, and its peer may merely be bound to the same path as the
    // daemon.
    _ = try token.daemon()
    mailbox.fetch()
    let answer = try ask(
      Message.bytes(.mapPort) { $0.put(client: tag.rawValue, viewEnd: viewEnd) },
      on: try token.open())
    return try opened(answer, token, viewEnd)
  }

  private func opened(
    _ answer: (body: MessageReader, files: [OwnedFile]), _ token: Token, _ viewEnd: ViewEnd
  ) throws(NetmapError) -> Opened {
    guard answer.files.count >= 2 else { throw answer.body.malformed("descriptors are missing") }
    var body = answer.body
    // No descriptor of memory is kept: the program would not know what it is.
    let region = try SharedMemory(mapping: answer.files[0].descriptor, keepsDescriptor: false)
    let segment = try SyncSegment(
      mapping: SharedMemory(mapping: answer.files[1].descriptor, keepsDescriptor: false))
    var registration = try body.takeRegistration(region: region, segment: segment)
    if try body.take(UInt8.self) != 0 {
      guard answer.files.count >= 3 else { throw body.malformed("a descriptor is missing") }
      let (serial, index) = (try body.take(UInt64.self), Int(try body.take(UInt8.self)))
      registration.place = SwitchAddress(
        serial: serial, index: index, generation: try body.take(UInt32.self),
        segment: try SwitchSegment(
          mapping: SharedMemory(mapping: answer.files[2].descriptor, keepsDescriptor: false)))
    }
    var recipe: InterfaceRecipe?
    if try body.take(UInt8.self) != 0 {
      recipe = try body.takeInterfaceRecipe(files: answer.files, region: region)
    }
    if case .whenForgotten = viewEnd {
      views.withLock { $0[registration.id.number, default: 0] += 1 }
    }
    return Opened(
      registration: registration, token: token, recipe: recipe, files: answer.files)
  }

  /// Makes the data path of a binding in this process.
  ///
  /// - Parameters:
  ///   - registration: The registration that the daemon answered with.
  ///   - lane: As in ``MappedPort``. A binding that is attached several times must be left as
  ///     many times (``leave(_:)``).
  ///   - doorbells: The doorbells that the rings may ring; nil for all that this process knows.
  ///   - backend: As in ``MappedPort``.
  /// - Returns: The port's rings as this process has them mapped.
  /// - Throws: ``NetmapError`` `EINVAL` when the daemon's memory does not describe the binding.
  package func mapPort(
    _ registration: Registration, lane: Int? = nil, waking doorbells: DoorbellTable? = nil,
    backend: (Int, Ring) throws(NetmapError) -> RingDriver = {
      (_, _) throws(NetmapError) in unsafe .none
    }
  ) throws(NetmapError) -> MappedPort {
    let vale = registration.place.map { mailbox.switches.join($0) }
    let monitors = mailbox.monitors.join(registration.monitors)
    do throws(NetmapError) {
      // The mail describes the other ports of the switch.
      if vale != nil { mailbox.fetch() }
      return unsafe try MappedPort(
        region: registration.region, segment: registration.segment,
        binding: registration.bindingIndex, tag: tag, doorbells: doorbells ?? self.doorbells,
        defaults: registration.defaults, vale: vale,
        resolver: mailbox.destinationResolver,
        // An isolated port, which has doorbells of its own, has no monitors.
        monitors: doorbells == nil ? monitors : nil, lane: lane, geometry: registration.geometry,
        backend: backend)
    } catch {
      leave(registration)
      throw error
    }
  }

  /// Ends one object's use of a port's rings without telling the daemon.
  package func leave(_ registration: Registration) {
    if let place = registration.place { mailbox.switches.leave(place) }
    mailbox.monitors.leave(registration.monitors)
  }

  /// Ends one object's use of a port's rings.
  ///
  /// Tells the daemon when it was the last object in this process.
  package func forget(_ registration: Registration) {
    leave(registration)
    forget(registration.id)
  }

  package func forget(_ id: BindingID) {
    guard unsafe process.isThisProcess, mailbox.isIntact else { return }
    let isLast = views.withLock { views in
      let left = (views[id.number] ?? 1) - 1
      views[id.number] = left > 0 ? left : nil
      return left <= 0
    }
    guard isLast else { return }
    // No error matters here: a daemon that has gone keeps nothing for this process.
    try? mailbox.socket.send(Message.bytes(.forget) { $0.put(id.number) }, waits: false)
  }

  /// Sends one request with a private socket for its answer, so that answers to other requests
  /// cannot get mixed in.
  ///
  /// A wait that ends without an answer also ends the socket for the answer. The daemon then undoes a bind that it cannot
  /// report.
  func ask(
    _ request: [UInt8], on socket: MessageSocket, namespace: OwnedFile? = nil, isNew: Bool = false,
    within seconds: Int = DaemonAddress.shortPatience
  ) throws(NetmapError) -> (body: MessageReader, files: [OwnedFile]) {
    let (mine, theirs) = try MessageSocket.pair()
    let mail: MessageSocket.Datagram
    do throws(NetmapError) {
      try DaemonAnswer.send(
        request, [theirs.descriptor] + (namespace.map { [$0.descriptor] } ?? []), on: socket)
      // Close this process's copy of the peer's end. Otherwise the daemon's death would not end the
      // wait.
      theirs.close()
      mail = try DaemonAnswer.receive(on: mine, "ask", within: seconds)
    } catch {
      switch error.code.rawValue {
      case ECONNRESET: throw try DaemonAnswer.whyNoAnswer(on: socket, isNew: isNew, error)
      case EINTR, ETIMEDOUT:
        guard let last = mine.receiveLast() else { throw error }
        mail = last
      default: throw error
      }
    }
    let body = try Message(mail.bytes).answer()
    try mail.checkFiles()
    return (body, mail.files)
  }

  /// Whether requests can still be made: this is the process that connected, not one of its fork children, and the
  /// program has not closed the connection's descriptors, which it does not know of.
  ///
  /// Otherwise connect again, and attach the tokens that are still open. The daemon ends the old client soon after the
  /// last reference to this object has gone.
  package var isUsable: Bool {
    unsafe process.isThisProcess && mailbox.isIntact && doorbells.isIntact
  }

  /// Whether the daemon has gone, or has hung up.
  package var hasEnded: Bool { mailbox.socket.isOver(within: 0) }

  func checkProcess() throws(NetmapError) {
    guard unsafe process.isThisProcess else {
      throw NetmapError(
        .badDescriptor, "ask", "netmapd", reason: "the process was forked after it connected",
        remedy: "connect again")
    }
    guard isUsable else {
      throw NetmapError(
        .badDescriptor, "ask", "netmapd",
        reason: "the program has closed descriptors of the connection, which it did not open",
        remedy: "connect again")
    }
  }
}
