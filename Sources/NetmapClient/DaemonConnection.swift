internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// This process as a client of one daemon: its mailbox, its slot, its doorbell.
///
/// Control calls are requests to the daemon and wait for its answer. The data path of open ports never
/// comes here, and goes on when the daemon has gone. Every call may be made from any thread; in a fork
/// child every call throws `EBADF`.
@safe
package final class DaemonConnection: Sendable {
  package let address: DaemonAddress
  package let doorbells: DoorbellTable
  package let directory: Directory
  /// In whose name this process locks rings.
  package let tag: ClientTag
  /// For a worker of this process.
  package var mail: Worker.Mail { mailbox.mail }

  private let mailbox: Mailbox
  private let life: MarkedLife
  private let way: Way
  /// How many objects of this process look at a binding's rings.
  private let views = Mutex<[UInt64: Int]>([:])
  private nonisolated(unsafe) let process = unsafe ForkGuard.Mark()

  /// Becomes a client of the daemon, which is started where none runs.
  ///
  /// - Parameters:
  ///   - address: The daemon's; nil for the first of ``DaemonAddress/candidates()`` that has one.
  ///   - starts: Whether to start a daemon.
  /// - Throws: ``NetmapError``: what keeps this user from it, or why none could be started.
  package convenience init(
    address: DaemonAddress? = nil, starts: Bool = true
  ) throws(NetmapError) {
    if let address {
      guard let connection = try address.connect() else {
        throw NetmapError(
          .init(rawValue: ECONNREFUSED), "connect", address.path,
          reason: "no netmapd listens there", remedy: "start one: netmapd --socket \(address.path)")
      }
      try connection.send(Message.bytes(.hello))
      try self.init(address, connection)
    } else {
      let (address, connection) = try DaemonAddress.reach(starts: starts)
      try connection.send(Message.bytes(.hello))
      try self.init(address, connection)
    }
  }

  /// How a daemon that is a client of itself reaches itself.
  package struct Way: Sendable {
    /// Another connection; nil where nobody listens.
    let connect: @Sendable () throws(NetmapError) -> MessageSocket?
    /// The network namespace in which interfaces are looked up for the calling thread; the caller's.
    let namespace: @Sendable (PortName) throws(NetmapError) -> OwnedFile?

    package init(
      connect: @escaping @Sendable () throws(NetmapError) -> MessageSocket?,
      namespace: @escaping @Sendable (PortName) throws(NetmapError) -> OwnedFile?
    ) {
      self.connect = connect
      self.namespace = namespace
    }
  }

  /// Becomes a client of the daemon that this process is.
  ///
  /// - Parameters:
  ///   - address: Where it listens.
  ///   - way: How it is reached.
  /// - Throws: ``NetmapError``, what it answers.
  package convenience init(address: DaemonAddress, _ way: Way) throws(NetmapError) {
    guard let connection = try way.connect() else { throw Self.hungUp("connect") }
    try connection.send(Message.bytes(.hello))
    try self.init(address, connection, way)
  }

  /// Becomes a client of the daemon that a token is of; no path has to be resolved for that.
  ///
  /// - Throws: As ``Token/daemon()``, before anything is sent; or what the daemon's end left.
  package convenience init(through token: Token) throws(NetmapError) {
    let address = try token.daemon()
    let (mine, theirs) = try MessageSocket.pair()
    try Self.send(Message.bytes(.hello), [theirs.descriptor], on: token.open())
    // The copy of theirs must go, or the daemon's death would not end the wait.
    theirs.close()
    let mail = try Self.receive(on: mine, "connect")
    _ = try Message(mail.bytes).answer()
    guard let mailbox = mail.files.last, mail.files.count >= 4 else {
      throw NetmapError(
        .invalidArgument, "connect", "netmapd", reason: "it has sent no mailbox",
        remedy: "use one version of netmap for all processes")
    }
    try self.init(address, MessageSocket(owning: try mailbox.duplicate()), mail)
  }

  /// - Parameters:
  ///   - address: The daemon's.
  ///   - socket: On which a hello has been sent.
  ///   - way: How a daemon reaches itself; nil for other processes.
  /// - Throws: ``NetmapError``, what the daemon answered.
  private convenience init(
    _ address: DaemonAddress, _ socket: MessageSocket, _ way: Way? = nil
  ) throws(NetmapError) {
    try self.init(address, socket, try Self.receive(on: socket, "connect"), way)
  }

  /// - Parameters:
  ///   - address: The daemon's.
  ///   - socket: The mailbox.
  ///   - mail: The answer to a hello.
  ///   - way: How a daemon reaches itself; nil for other processes.
  /// - Throws: ``NetmapError``, what the daemon answered.
  private init(
    _ address: DaemonAddress, _ socket: MessageSocket, _ mail: MessageSocket.Datagram,
    _ way: Way? = nil
  ) throws(NetmapError) {
    self.address = address
    self.way =
      way
      ?? Way(
        connect: { () throws(NetmapError) in try address.connect() },
        namespace: { (name) throws(NetmapError) in try Self.namespace(for: name) })
    var body = try Message(mail.bytes).answer()
    let (slot, epoch) = (try body.take(UInt32.self), try body.take(UInt32.self))
    let isShared = try body.take(UInt8.self) != 0
    guard slot < Directory.clientCapacity, epoch > 0, mail.files.count >= (isShared ? 4 : 3)
    else {
      throw body.malformed("it names no client")
    }
    tag = ClientTag(slot: slot, epoch: epoch)
    directory = try Directory(
      attaching: SharedMemory(attaching: mail.files[0].descriptor, readOnly: true))
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
  /// Interfaces are those of the calling thread's network namespace.
  ///
  /// - Returns: The binding, and its token.
  /// - Throws: ``NetmapError`` as ``Engine/register(_:)``, or what the daemon's end left.
  package func register(
    _ request: RegisterRequest
  ) throws(NetmapError) -> Opened {
    try checkProcess()
    // Not needed for this; but a process that only ever listens would let its mail pile up.
    mailbox.fetch()
    guard let connection = try way.connect() else { throw Self.hungUp("open") }
    let token = Token(connection)
    let answer = try ask(
      Message.bytes(.register) {
        $0.put(request)
        $0.put(tag.rawValue)
      }, on: connection, namespace: try way.namespace(request.name), isNew: true)
    return try opened(answer, token)
  }

  /// Maps the rings of a port that another process, or another program in this one, has opened.
  ///
  /// - Returns: The binding. ``forget(_:)`` ends this use of it, the token's last copy the binding.
  /// - Throws: ``NetmapError`` `EBADF` when the token is bound to no port, or is another daemon's; as
  ///   ``Token/daemon()``.
  package func attach(_ token: Token) throws(NetmapError) -> Opened {
    try checkProcess()
    // It may come from anywhere, and have the daemon's path for a name.
    _ = try token.daemon()
    mailbox.fetch()
    let answer = try ask(
      Message.bytes(.attach) { $0.put(tag.rawValue) }, on: try token.open())
    return try opened(answer, token)
  }

  private func opened(
    _ answer: (body: MessageReader, files: [OwnedFile]), _ token: Token
  ) throws(NetmapError) -> Opened {
    guard answer.files.count >= 2 else { throw answer.body.malformed("descriptors are missing") }
    var body = answer.body
    let region = try SharedMemory(attaching: answer.files[0].descriptor)
    let segment = try SyncSegment(
      attaching: SharedMemory(attaching: answer.files[1].descriptor))
    var registration = try body.takeRegistration(region: region, segment: segment)
    if try body.take(UInt8.self) != 0 {
      guard answer.files.count >= 3 else { throw body.malformed("a descriptor is missing") }
      let (serial, index) = (try body.take(UInt64.self), Int(try body.take(UInt8.self)))
      registration.place = SwitchPlace(
        serial: serial, index: index, generation: try body.take(UInt32.self),
        segment: try BridgeSegment(attaching: SharedMemory(attaching: answer.files[2].descriptor)))
    }
    var attachment: InterfaceAttachment?
    if try body.take(UInt8.self) != 0 {
      attachment = try body.takeAttachment(files: answer.files, region: region)
    }
    views.withLock { $0[registration.id.number, default: 0] += 1 }
    return Opened(
      registration: registration, token: token, attachment: attachment, files: answer.files)
  }

  /// Ring counts and memory of a port, as if it were opened.
  ///
  /// - Throws: ``NetmapError`` as ``Engine/portInfo(_:memoryID:)``.
  package func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16 {
    try checkProcess()
    var body = try ask(
      Message.bytes(.portInfo) { $0.put(request) }, on: mailbox.socket,
      namespace: try way.namespace(request.name)
    ).body
    return try body.take(UInt16.self)
  }

  /// Asks about switches. Interfaces are those of the calling thread's network namespace.
  ///
  /// - Throws: ``NetmapError`` as ``Engine/answer(_:)``.
  package func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer {
    try checkProcess()
    var file = try request.name.flatMap(way.namespace)
    if case .module(_, .choose(.loaded)) = request { file = try Self.sealed(request) }
    var body = try ask(
      Message.bytes(.control) { $0.put(request) }, on: mailbox.socket, namespace: file
    ).body
    return try body.takeSwitchAnswer()
  }

  /// A request in a socket of its own, where it lies with this process's credentials, which the kernel vouches
  /// for. Whoever starts programs for users believes nobody else's word.
  ///
  /// - Returns: The socket to receive it on.
  /// - Throws: ``NetmapError`` `EMFILE`.
  private static func sealed(_ request: SwitchRequest) throws(NetmapError) -> OwnedFile {
    let (mine, theirs) = try MessageSocket.pair()
    guard clinux_pass_credentials(theirs.descriptor) == 0 else {
      throw systemError("setsockopt(SO_PASSCRED)", "netmapd")
    }
    _ = clinux_pass_no_pidfd(theirs.descriptor)
    try mine.send(Message.bytes(.control) { $0.put(request) }, waits: false)
    return OwnedFile(try theirs.take())
  }

  /// Everything that is open: see ``PortListing``.
  package func listing() throws(NetmapError) -> [PortListing] {
    try checkProcess()
    var result: [PortListing] = []
    var isLast = false
    while !isLast {
      let start = UInt32(result.count)
      var body = try ask(Message.bytes(.list) { $0.put(start) }, on: mailbox.socket).body
      let count = try body.take(UInt16.self)
      isLast = try body.take(UInt8.self) != 0 || count == 0
      for _ in 0..<count { result.append(try body.takeListing()) }
    }
    return result
  }

  /// Has the daemon look for buffers that are lost or owned twice, and the like; see
  /// ``Engine/check()`` for what can be said of ports that are in use.
  package func check() throws(NetmapError) -> DaemonCheck {
    try checkProcess()
    var body = try ask(Message.bytes(.check), on: mailbox.socket).body
    return try body.takeCheck()
  }

  /// The data path of a binding, in this process.
  ///
  /// - Parameters:
  ///   - registration: What the daemon answered.
  ///   - lane: As ``AttachedPort`` takes it. What has been attached several times is left as often
  ///     (``leave(_:)``).
  ///   - doorbells: Whom its rings may wake; nil for everybody whom this process knows.
  ///   - backend: As ``AttachedPort`` takes it.
  /// - Returns: The rings, as this process has them.
  /// - Throws: ``NetmapError`` `EINVAL` when the daemon's memory does not describe it.
  package func attach(
    _ registration: Registration, lane: Int? = nil, waking doorbells: DoorbellTable? = nil,
    backend: (Int, Ring) throws(NetmapError) -> DataHalf = {
      (_, _) throws(NetmapError) in unsafe .none
    }
  ) throws(NetmapError) -> AttachedPort {
    let bridge = registration.place.map { mailbox.switches.join($0) }
    do throws(NetmapError) {
      // What the switch's ports are is in the mail.
      if bridge != nil { mailbox.fetch() }
      return unsafe try AttachedPort(
        region: registration.region, segment: registration.segment,
        binding: registration.bindingIndex, tag: tag, doorbells: doorbells ?? self.doorbells,
        bridge: bridge,
        resolver: mailbox.destinationResolver, lane: lane, backend: backend)
    } catch {
      leave(registration)
      throw error
    }
  }

  /// An object of this process looks at a port's rings no more, and the daemon need not be told.
  package func leave(_ registration: Registration) {
    if let place = registration.place { mailbox.switches.leave(place) }
  }

  /// One object of this process looks at a port's rings no more; the daemon is told of the last one.
  package func forget(_ registration: Registration) {
    leave(registration)
    forget(registration.id)
  }

  package func forget(_ id: BindingID) {
    guard unsafe process.isThisProcess else { return }
    let isLast = views.withLock { views in
      let left = (views[id.number] ?? 1) - 1
      views[id.number] = left > 0 ? left : nil
      return left <= 0
    }
    guard isLast else { return }
    // A daemon that has gone has forgotten already.
    try? mailbox.socket.send(Message.bytes(.forget) { $0.put(id.number) }, waits: false)
  }

  /// The calling thread's network namespace, in which a name of an interface is looked up.
  private static func namespace(for name: PortName) throws(NetmapError) -> OwnedFile? {
    let path = "/proc/thread-self/ns/net"
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    if file >= 0 { return OwnedFile(file) }
    // A pipe's name need not be that of an interface. Any other must not be looked up elsewhere.
    guard name.pipe == nil else { return nil }
    throw systemError(
      "open", path, remedy: "mount /proc, by which netmapd is told where interfaces are looked up")
  }

  /// One request, with a private socket for its answer: answers to others cannot get mixed in.
  private func ask(
    _ request: [UInt8], on socket: MessageSocket, namespace: OwnedFile? = nil, isNew: Bool = false
  ) throws(NetmapError) -> (body: MessageReader, files: [OwnedFile]) {
    let (mine, theirs) = try MessageSocket.pair()
    let mail: MessageSocket.Datagram
    do throws(NetmapError) {
      try Self.send(
        request, [theirs.descriptor] + (namespace.map { [$0.descriptor] } ?? []), on: socket)
      // The copy of theirs must go, or the daemon's death would not end the wait.
      theirs.close()
      mail = try Self.receive(on: mine, "ask")
    } catch {
      guard error.code.rawValue == ECONNRESET else { throw error }
      throw try Self.whyNoAnswer(on: socket, isNew: isNew, error)
    }
    return (try Message(mail.bytes).answer(), mail.files)
  }

  /// What it means that the socket for an answer was closed: the daemon has ended, or it had no
  /// descriptor left for the socket, or for the connection that the request was sent on.
  ///
  /// - Parameters:
  ///   - socket: What the request was sent on.
  ///   - isNew: Whether nobody else can be meant by what has arrived on the connection.
  ///   - error: That the daemon has gone.
  /// - Returns: The error to report.
  /// - Throws: ``NetmapError``, what the daemon answered on the connection itself.
  private static func whyNoAnswer(
    on socket: MessageSocket, isNew: Bool, _ error: NetmapError
  ) throws(NetmapError) -> NetmapError {
    // An error that the connection has had is reported before what was sent on it.
    for _ in 0..<2 where isNew {
      guard let mail = try? socket.receive(waits: false) else { continue }
      if !mail.bytes.isEmpty { _ = try Message(mail.bytes).answer() }
      return error
    }
    // A daemon that is killed closes one descriptor after the other.
    return socket.isOver(within: 100) ? error : DaemonAddress.noDescriptor()
  }

  private static func send(
    _ bytes: [UInt8], _ files: [CInt], on socket: MessageSocket
  ) throws(NetmapError) {
    do throws(NetmapError) {
      try socket.send(bytes, files)
    } catch {
      throw error.code.rawValue == EPIPE || error.code.rawValue == ECONNRESET
        ? hungUp("ask") : error
    }
  }

  /// An answer of the daemon, for which it has ``DaemonAddress/patience`` seconds.
  private static func receive(
    on socket: MessageSocket, _ operation: String
  ) throws(NetmapError) -> MessageSocket.Datagram {
    guard let mail = try socket.receive(within: DaemonAddress.patience) else {
      throw DaemonAddress.noAnswer(operation)
    }
    guard !mail.bytes.isEmpty else { throw hungUp(operation) }
    return mail
  }

  /// Whether this still is the process that connected, and no fork child of it.
  package var isUsable: Bool { unsafe process.isThisProcess }

  private func checkProcess() throws(NetmapError) {
    guard isUsable else {
      throw NetmapError(
        .badDescriptor, "ask", "netmapd", reason: "the process was forked after it connected",
        remedy: "connect again")
    }
  }

  private static func hungUp(_ operation: String) -> NetmapError {
    NetmapError(
      .init(rawValue: ECONNRESET), operation, "netmapd", reason: "the daemon has gone",
      remedy: "open the port again; a new daemon is started then")
  }
}
