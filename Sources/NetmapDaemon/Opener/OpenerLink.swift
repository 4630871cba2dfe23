internal import CLinux
internal import Glibc
internal import NetmapClient
package import NetmapCore
package import NetmapLinuxSetup
internal import Synchronization

/// The broker's side of the link to the opener: sends requests for privileged operations and waits
/// for the answers.
///
/// Every call may be made from any thread.
package final class OpenerLink: InterfaceRights {
  /// A number that the opener has assigned, released with the object.
  fileprivate final class Number: Sendable {
    let value: UInt32
    private let link: OpenerLink

    init(_ value: UInt32, _ link: OpenerLink) {
      self.value = value
      self.link = link
    }

    deinit { _ = try? link.ask(.close(value)) }
  }

  /// The rights for one interface, whose number they know.
  fileprivate final class Interface: Sendable {
    let number: Number
    let link: OpenerLink

    init(_ number: Number, _ link: OpenerLink) {
      self.number = number
      self.link = link
    }
  }

  private let socket: MessageSocket
  private let turn = Mutex<Void>(())

  /// - Parameter socket: A socket that is connected to the opener; this object takes ownership of
  ///   it.
  package init(owning socket: CInt) {
    self.socket = MessageSocket(owning: socket)
  }

  /// Tells the opener that this process is about to end, even if a thread then hangs in the kernel.
  package func hangUp() { shutdown(socket.descriptor, CInt(SHUT_RDWR)) }

  /// Asks whether the broker may end now.
  ///
  /// If so, the opener has removed the sockets.
  ///
  /// - Parameter evenIfAsked: Whether to end even if a client has just connected.
  /// - Returns: Whether the broker may end; true also when the opener has gone.
  package func mayLeave(evenIfAsked: Bool) -> Bool {
    do throws(NetmapError) {
      var answer = try ask(.leave(evenIfAsked: evenIfAsked))
      return try answer.fields.take(UInt8.self) != 0
    } catch {
      return true
    }
  }

  /// Takes blocks of numbers for an engine's memory regions.
  package var regionBlocks: RegionNumbers.Source { { [self] in takeRegionBlock() } }

  /// Takes a block of numbers for memory regions; nil when the opener has none.
  private func takeRegionBlock() -> UInt16? {
    guard var answer = try? ask(.regionBlock), let block = try? answer.fields.take(UInt16.self),
      block < RegionNumbers.blockCount
    else { return nil }
    return block
  }

  /// Has the opener connect to the daemon's own socket.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of connect(2).
  func connect(named name: TokenName.Digits) throws(NetmapError) -> OwnedFile {
    OwnedFile(try ask(.connect(name)).file())
  }

  /// Has the opener start a process that runs a module.
  ///
  /// - Parameters:
  ///   - sealed: A socket that contains the user's request; remains the caller's.
  ///   - user: The user who passed the socket, whose quota the process counts against.
  /// - Returns: The process.
  /// - Throws: ``NetmapError`` when the process was not started.
  func startHost(_ sealed: CInt, for user: UInt32) throws(NetmapError) -> HostProcess {
    var answer = try ask(.startHost(payer: user), sealed)
    let process = try answer.fields.take(Int32.self)
    guard (2...3).contains(answer.files.count) else {
      throw answer.fields.malformed("descriptors are missing")
    }
    return HostProcess(
      process: process, user: user, death: answer.files[0],
      channel: MessageSocket(owning: try answer.files[1].duplicate()),
      state: answer.files.count > 2 ? answer.files[2] : nil)
  }

  /// Has the opener kill a process that runs a module.
  func endHost(_ process: Int32) { _ = try? ask(.endHost(process)) }

  fileprivate struct Answer {
    var fields: MessageReader
    let files: [OwnedFile]

    /// A descriptor that came with the answer, by its place; the caller owns it.
    func file(_ place: Int = 0) throws(NetmapError) -> CInt {
      guard place < files.count else { throw fields.malformed("a descriptor is missing") }
      return try files[place].duplicate()
    }
  }

  fileprivate func ask(
    _ request: OpenerRequest, _ file: CInt? = nil
  ) throws(NetmapError) -> Answer {
    let mail = try turn.withLock { (_) throws(NetmapError) -> MessageSocket.Datagram in
      do throws(NetmapError) {
        try socket.send(request.bytes, file.map { [$0] } ?? [])
        if let mail = try socket.receive(waits: true), !mail.bytes.isEmpty { return mail }
      } catch {
        guard [EPIPE, ECONNRESET].contains(error.code.rawValue) else { throw error }
      }
      throw NetmapError(
        .init(rawValue: ECONNRESET), "ask", "netmapd's opener", reason: "it has ended",
        remedy: "try again, which starts a new netmapd")
    }
    return Answer(fields: try OpenerAnswer.fields(of: mail.bytes), files: mail.files)
  }

  // MARK: - Rights

  package func identity(of name: String) throws(NetmapError) -> InterfaceIdentity {
    guard OpenerRequest.mayName(name) else {
      return InterfaceIdentity(namespace: 0, index: 0)
    }
    let namespace = AskedNamespace.current
    var answer = try ask(.identity(name, namespace?.asker ?? .init()), namespace?.file)
    return InterfaceIdentity(
      namespace: try answer.fields.take(UInt64.self), index: try answer.fields.take(UInt32.self))
  }

  package func interface(named name: String) throws(NetmapError) -> LinuxInterface? {
    guard OpenerRequest.mayName(name) else { return nil }
    let namespace = AskedNamespace.current
    var answer = try ask(.interface(name, namespace?.asker ?? .init()), namespace?.file)
    let number = try answer.fields.take(UInt32.self)
    guard number != 0 else { return nil }
    let interface = Interface(Number(number, self), self)
    return try answer.fields.takeInterface(named: name, rights: interface)
  }

  package func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt {
    throw unknown(interface)
  }

  package func xdpSocket(
    for interface: LinuxInterface, registering region: Region?, headroom: Int
  ) throws(NetmapError) -> CInt { throw unknown(interface) }

  package func xdpProgram(
    on interface: LinuxInterface, _ kind: XDPProgramKind
  ) throws(NetmapError) -> any AttachedXDPProgram { throw unknown(interface) }

  package func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt {
    throw unknown(interface)
  }

  package func ingressDrop(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedIngressDrop { throw unknown(interface) }

  package func hostLeg(
    for interface: LinuxInterface, pairs: Int
  ) throws(NetmapError) -> any AttachedHostLeg { throw unknown(interface) }

  private func unknown(_ interface: LinuxInterface) -> NetmapError {
    NetmapError(
      .inputOutput, "open", interface.name,
      reason: "netmapd's opener has not looked up this interface")
  }
}

extension OpenerLink.Interface: InterfaceRights {
  func identity(of name: String) throws(NetmapError) -> InterfaceIdentity {
    try link.identity(of: name)
  }

  func interface(named name: String) throws(NetmapError) -> LinuxInterface? {
    try link.interface(named: name)
  }

  func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt {
    try link.ask(.linkEvents(of: number.value)).file()
  }

  func askedNamespace() -> OwnedFile? { try? NamespaceFile.asked() }

  func xdpSocket(
    for interface: LinuxInterface, registering region: Region?, headroom: Int
  ) throws(NetmapError) -> CInt {
    let memory = region.map { region in
      let pool = region.layout.buffers
      return OpenerRequest.Memory(
        offset: UInt64(pool.offset), byteCount: UInt64(pool.byteCount + pool.size),
        chunkSize: UInt32(pool.size), headroom: UInt32(headroom),
        regionID: region.id)
    }
    return try link.ask(
      .xdpSocket(interface: number.value, memory), region?.memory.descriptor
    ).file()
  }

  func xdpProgram(
    on interface: LinuxInterface, _ kind: XDPProgramKind
  ) throws(NetmapError) -> any AttachedXDPProgram {
    var answer = try link.ask(.xdpProgram(interface: number.value, kind))
    let made = OpenerLink.Number(try answer.fields.take(UInt32.self), link)
    let file = OwnedFile(try answer.file())
    return RemoteProgram(
      made, link, file: file, work: kind == .finishing ? OwnedFile(try answer.file(1)) : nil)
  }

  func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt {
    try link.ask(.packetSocket(interface: number.value)).file()
  }

  func ingressDrop(
    _ interface: LinuxInterface, avoidingLinks: Bool
  ) throws(NetmapError) -> any AttachedIngressDrop {
    var answer = try link.ask(.ingressDrop(interface: number.value, avoidingLinks: avoidingLinks))
    let made = OpenerLink.Number(try answer.fields.take(UInt32.self), link)
    return RemoteIngressDrop(made, file: answer.files.isEmpty ? nil : OwnedFile(try answer.file()))
  }

  func hostLeg(
    for interface: LinuxInterface, pairs: Int
  ) throws(NetmapError) -> any AttachedHostLeg {
    var answer = try link.ask(
      .hostLeg(interface: number.value, pairs: UInt32(clamping: pairs)))
    let made = OpenerLink.Number(try answer.fields.take(UInt32.self), link)
    let far = OpenerLink.Number(try answer.fields.take(UInt32.self), link)
    let rights = OpenerLink.Interface(far, link)
    return RemoteHostLeg(
      made, link,
      far: try answer.fields.takeInterface(named: "\(interface.name)^", rights: rights),
      files: answer.files)
  }
}

/// An XDP program that the opener has attached.
private final class RemoteProgram: AttachedXDPProgram {
  private let number: OpenerLink.Number
  private let link: OpenerLink
  private let file: OwnedFile
  private let work: OwnedFile?

  init(_ number: OpenerLink.Number, _ link: OpenerLink, file: OwnedFile, work: OwnedFile?) {
    self.number = number
    self.link = link
    self.file = file
    self.work = work
  }

  var linkDescriptor: CInt { file.descriptor }
  var workDescriptor: CInt? { work?.descriptor }

  func add(socket: CInt, queue index: Int) throws(NetmapError) {
    _ = try link.ask(.add(program: number.value, queue: UInt32(clamping: index)), socket)
  }

  func remove(queue index: Int) {
    _ = try? link.ask(.remove(program: number.value, queue: UInt32(clamping: index)))
  }

  // The opener does this when this process ends.
  func leaveToOthers() {}
}

/// A host ingress drop that the opener has attached.
private final class RemoteIngressDrop: AttachedIngressDrop {
  private let number: OpenerLink.Number
  private let file: OwnedFile?

  init(_ number: OpenerLink.Number, file: OwnedFile?) {
    self.number = number
    self.file = file
  }

  var linkDescriptor: CInt? { file?.descriptor }

  func leaveToOthers() {}
}

/// A leg that the opener has made.
private final class RemoteHostLeg: AttachedHostLeg {
  private let number: OpenerLink.Number
  private let link: OpenerLink
  private let files: Mutex<[OwnedFile]>
  let far: LinuxInterface
  let namespaceDescriptor: CInt = -1

  init(
    _ number: OpenerLink.Number, _ link: OpenerLink, far: LinuxInterface, files: [OwnedFile]
  ) {
    self.number = number
    self.link = link
    self.far = far
    self.files = Mutex(files)
  }

  var linkDescriptors: [CInt] { files.withLock { $0.map(\.descriptor) } }

  func connect(takesHostPackets: Bool, marks: Bool) throws(NetmapError) {
    let answer = try link.ask(
      .connectLeg(number.value, takesHostPackets: takesHostPackets, marks: marks))
    files.withLock { $0 = answer.files }
  }

  // The opener does this when this process ends.
  func leaveToOthers() {}
}

// The encoding of an interface that the opener has looked up.

extension MessageWriter {
  mutating func put(_ interface: LinuxInterface) {
    put(interface.identity.namespace)
    put(interface.index)
    put(UInt32(clamping: interface.mtu))
    put(UInt8(interface.isUp ? 1 : 0))
    put(UInt16(clamping: interface.receiveQueues))
    put(UInt16(clamping: interface.transmitQueues))
    let (number, peer): (UInt8, String) =
      switch interface.arrivingFrames {
      case .complete: (0, "")
      case .unfinished(let peer): (1, peer)
      case .untagged(let peer): (2, peer)
      case .unknown: (3, "")
      case .describedByPrograms: (4, "")
      }
    put(number)
    put(peer)
  }
}

extension MessageReader {
  fileprivate mutating func takeInterface(
    named name: String, rights: any InterfaceRights
  ) throws(NetmapError) -> LinuxInterface {
    let identity = InterfaceIdentity(
      namespace: try take(UInt64.self), index: try take(UInt32.self))
    let mtu = Int(try take(UInt32.self))
    let isUp = try take(UInt8.self) != 0
    let (receive, transmit) = (Int(try take(UInt16.self)), Int(try take(UInt16.self)))
    let (number, peer) = (try take(UInt8.self), try takeString())
    let frames: ArrivingFrames
    switch number {
    case 0: frames = .complete
    case 1: frames = .unfinished(peer: peer)
    case 2: frames = .untagged(peer: peer)
    case 3: frames = .unknown
    case 4: frames = .describedByPrograms
    default: throw malformed("it describes arriving frames by \(number)")
    }
    return LinuxInterface(
      name: name, identity: identity, mtu: mtu, isUp: isUp, queues: (receive, transmit),
      arrivingFrames: frames, rights: rights)
  }
}
