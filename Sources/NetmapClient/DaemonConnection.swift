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

  private let mailbox: Mailbox
  private nonisolated(unsafe) let process = unsafe ForkGuard.Mark()

  /// Becomes a client of the daemon, which is started where none runs.
  ///
  /// - Parameters:
  ///   - address: The daemon's; nil for the first of ``DaemonAddress/candidates()`` that has one.
  ///   - starts: Whether to start a daemon.
  /// - Throws: ``NetmapError``: what keeps this user from it, or why none could be started.
  package init(address: DaemonAddress? = nil, starts: Bool = true) throws(NetmapError) {
    let socket: MessageSocket
    if let address {
      guard let connection = try address.connect() else {
        throw NetmapError(
          .init(rawValue: ECONNREFUSED), "connect", address.path,
          reason: "no netmapd listens there", remedy: "start one: netmapd --socket \(address.path)")
      }
      (self.address, socket) = (address, connection)
    } else {
      (self.address, socket) = try DaemonAddress.reach(starts: starts)
    }
    try socket.send(Message.bytes(.hello))
    guard let mail = try socket.receive(waits: true), !mail.bytes.isEmpty else {
      throw Self.hungUp("connect")
    }
    var body = try Message(mail.bytes).answer()
    let (slot, epoch) = (try body.take(UInt32.self), try body.take(UInt32.self))
    guard slot < Directory.clientCapacity, epoch > 0, mail.files.count >= 2 else {
      throw body.malformed("it names no client")
    }
    tag = ClientTag(slot: slot, epoch: epoch)
    directory = try Directory(
      attaching: SharedMemory(attaching: mail.files[0].descriptor, readOnly: true))
    let doorbell = try mail.files[1].duplicate()
    mailbox = Mailbox(socket)
    doorbells = unsafe try DoorbellTable(
      of: tag, descriptor: doorbell, resolver: mailbox.resolver)
    mailbox.deliver(to: doorbells)
  }

  /// Binds rings of a port.
  ///
  /// - Returns: The binding, and its token.
  /// - Throws: ``NetmapError`` as ``Engine/register(_:)``, or what the daemon's end left.
  package func register(
    _ request: RegisterRequest
  ) throws(NetmapError) -> (registration: Registration, token: Token) {
    try checkProcess()
    // Not needed for this; but a process that only ever listens would let its mail pile up.
    mailbox.fetch()
    guard let connection = try address.connect() else { throw Self.hungUp("open") }
    let token = Token(connection)
    let answer = try ask(
      Message.bytes(.register) {
        $0.put(request)
        $0.put(tag.rawValue)
      }, on: connection)
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
    return (registration, token)
  }

  /// Ring counts and memory of a port, as if it were opened.
  ///
  /// - Throws: ``NetmapError`` as ``Engine/portInfo(_:memoryID:)``.
  package func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16 {
    try checkProcess()
    var body = try ask(Message.bytes(.portInfo) { $0.put(request) }, on: mailbox.socket).body
    return try body.take(UInt16.self)
  }

  /// Asks about switches.
  ///
  /// - Throws: ``NetmapError`` as ``Engine/answer(_:)``.
  package func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer {
    try checkProcess()
    var body = try ask(Message.bytes(.control) { $0.put(request) }, on: mailbox.socket).body
    return try body.takeSwitchAnswer()
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

  /// The data path of a binding, in this process.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the daemon's memory does not describe it.
  package func attach(_ registration: Registration) throws(NetmapError) -> AttachedPort {
    let bridge = registration.place.map { mailbox.switches.join($0, registration.segment) }
    do throws(NetmapError) {
      // What the switch's ports are is in the mail.
      if bridge != nil { mailbox.fetch() }
      return unsafe try AttachedPort(
        region: registration.region, segment: registration.segment,
        binding: registration.bindingIndex, tag: tag, doorbells: doorbells, bridge: bridge,
        resolver: mailbox.destinationResolver)
    } catch {
      if let place = registration.place { mailbox.switches.leave(place, registration.segment) }
      throw error
    }
  }

  /// Nobody in this process looks at a closed port's rings any more.
  package func forget(_ registration: Registration) {
    if let place = registration.place { mailbox.switches.leave(place, registration.segment) }
    forget(registration.id)
  }

  private func forget(_ id: BindingID) {
    guard unsafe process.isThisProcess else { return }
    // A daemon that has gone has forgotten already.
    try? mailbox.socket.send(Message.bytes(.forget) { $0.put(id.number) }, waits: false)
  }

  /// One request, with a private socket for its answer: answers to others cannot get mixed in.
  private func ask(
    _ request: [UInt8], on socket: MessageSocket
  ) throws(NetmapError) -> (body: MessageReader, files: [OwnedFile]) {
    let (mine, theirs) = try MessageSocket.pair()
    do throws(NetmapError) {
      try socket.send(request, [theirs.descriptor])
    } catch {
      throw error.code.rawValue == EPIPE || error.code.rawValue == ECONNRESET
        ? Self.hungUp("ask") : error
    }
    // The copy of theirs must go, or the daemon's death would not end the wait.
    return try Self.answer(on: mine, closing: theirs)
  }

  private static func answer(
    on socket: MessageSocket, closing other: consuming MessageSocket
  ) throws(NetmapError) -> (body: MessageReader, files: [OwnedFile]) {
    _ = consume other
    guard let mail = try socket.receive(waits: true), !mail.bytes.isEmpty else {
      throw hungUp("ask")
    }
    return (try Message(mail.bytes).answer(), mail.files)
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

/// One open of a port, as a descriptor: the binding lasts until its last copy is closed.
///
/// It is polled, inherited and passed on like a file. Nothing is ever received on it.
package final class Token: Sendable {
  private let socket: Mutex<MessageSocket?>

  init(_ socket: MessageSocket) {
    self.socket = Mutex(socket)
  }

  /// Closes this copy.
  package func close() {
    socket.withLock { $0 = nil }
  }
}
