internal import CLinux
internal import Glibc
package import NetmapClient
package import NetmapCore
internal import NetmapLinuxSetup

/// The opener: the process of root's netmapd that has privileges.
///
/// It performs privileged operations for the broker, and nothing else.
///
/// The broker handles input from all users, so the opener treats it as hostile. A request consists
/// of numbers and the name of an interface. It never contains a path, a program or an address. The
/// process that runs a module reads what to run from the request of the user who asked for it. The
/// opener checks each descriptor that comes with a request before it uses it. It maps shared memory
/// only to register it with the kernel, and never reads it.
///
/// The opener runs on one thread and answers one request after the other.
package final class Opener {
  /// An object that a number in the broker's requests stands for.
  private enum Object {
    case interface(OpenedInterface)
    case program(any AttachedXDPProgram)
    case ingressDrop(any AttachedIngressDrop)
    case leg(any AttachedHostLeg)
  }

  /// An interface, and the network namespace that it is in.
  private struct OpenedInterface {
    let interface: LinuxInterface
    /// Nil for the opener's own network namespace.
    let namespace: NamespaceFile?
  }

  /// The most objects that a broker may have at a time.
  ///
  /// Each interface in use takes two or three.
  private static let objectsMax = 4096

  /// The most legs to host stacks at a time, each of which is a network namespace.
  private static let legsMax = 256

  private let rights = OwnInterfaceRights(looksEverywhere: false)
  private let home: NamespaceFile?
  private let closer: Closer
  /// The module hosts, which outlive their broker.
  package let hosts: OpenerHosts
  private let mayLeave: (_ evenIfAsked: Bool) -> Bool
  private let address: DaemonAddress
  /// Nil where the file cannot be opened.
  private lazy var regionBlocks = try? RegionBlocks(address)
  /// The number of this broker.
  ///
  /// The closer accounts closes to it, so that closes that hang do not count against its
  /// successors.
  private var broker: UInt32 = 0
  /// Whether the opener must end the broker after this request: an honest broker would not have
  /// sent it.
  private var isBetrayed = false
  private var objects: [UInt32: Object] = [:]
  private var lastNumber: UInt32 = 0

  /// Whether the opener has told the broker that it may end.
  package private(set) var isLeaving = false

  /// - Parameters:
  ///   - address: The daemon's address.
  ///   - allowsModules: Whether users may load modules from shared objects.
  ///   - mayLeave: Decides whether the broker may end now. If so, removes the sockets.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    _ address: DaemonAddress, allowsModules: Bool = true,
    mayLeave: @escaping (_ evenIfAsked: Bool) -> Bool
  ) throws(NetmapError) {
    hosts = OpenerHosts(address, allowsModules: allowsModules)
    home = NamespaceFile.current()
    closer = try Closer()
    self.mayLeave = mayLeave
    self.address = address
    OwnInterfaceRights.undoStale()
  }

  /// Releases everything that was opened for a broker that has ended.
  ///
  /// A bpf_link stays attached where a client still holds a copy of it.
  ///
  /// - Parameter ghost: The broker's process, if one of its threads hangs in the kernel with all of
  ///   the broker's descriptors.
  package func forgetEverything(ghost: Int32? = nil) {
    let shared = ghost.map { LinkHolders(besides: [$0, getpid()]) }
    for number in objects.keys {
      // The dead broker's own copy would keep a program attached for as long as the thread hangs.
      let isOthers: (CInt) -> Bool = { shared?.have($0) ?? true }
      switch objects[number] {
      case .interface, nil: break
      case .program(let program): if isOthers(program.linkDescriptor) { program.leaveToOthers() }
      case .ingressDrop(let ingressDrop):
        if isOthers(ingressDrop.linkDescriptor ?? -1) { ingressDrop.leaveToOthers() }
      case .leg(let leg):
        if leg.linkDescriptors.contains(where: isOthers) { leg.leaveToOthers() }
      }
      release(number)
    }
    hosts.dismiss()
    broker &+= 1
    isBetrayed = false
    isLeaving = false
  }

  /// The most pending closes of one broker's descriptors.
  private static let backlogMax = 16

  /// Reads and answers one request, if there is one.
  ///
  /// - Parameter socket: The opener's end of the socket pair with the broker.
  /// - Returns: Whether the broker may continue; false when it has hung up or has sent a request
  ///   that no honest broker sends.
  package func serve(_ socket: CInt) -> Bool {
    // An honest broker passes no files whose close hangs.
    guard !closer.isStuck(for: broker), closer.backlog(of: broker) <= Self.backlogMax else {
      return false
    }
    var bytes = [UInt8](repeating: 0, count: OpenerRequest.byteCountMax + 1)
    var files = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
    var (fileCount, truncated) = (0, CInt(0))
    let (count, failure) = FileLimit.withReserve {
      let count = unsafe clinux_receive(
        socket, &bytes, bytes.count, &files, &fileCount, &truncated, CInt(MSG_DONTWAIT))
      return (count, errno)
    }
    if count < 0 { return failure == EAGAIN || failure == EINTR }
    // Never drain the queue of a passed socket, not even to close it: see ``HostProcess``.
    let passed = files.prefix(fileCount).map {
      ForeignFile($0, of: broker, closer, isDrained: false)
    }
    guard count > 0, truncated == 0, passed.count <= 1,
      let request = OpenerRequest(Array(bytes.prefix(count)))
    else { return false }
    var answer: (bytes: [UInt8], files: [OwnedFile])
    do throws(NetmapError) {
      answer = try decide(request, passed.first)
    } catch {
      answer = (OpenerAnswer.refused(error), [])
    }
    // The broker reads one answer to each request, so an honest broker's queue is never full. An
    // optimized build would close the descriptors after reading their numbers, so keep them open
    // until the message is sent.
    let sent = withExtendedLifetime(answer.files) {
      unsafe clinux_send(
        socket, answer.bytes, answer.bytes.count, answer.files.map(\.descriptor),
        answer.files.count, CInt(MSG_DONTWAIT))
    }
    return sent == answer.bytes.count && !isBetrayed
  }

  private func decide(
    _ request: OpenerRequest, _ file: ForeignFile?
  ) throws(NetmapError) -> (bytes: [UInt8], files: [OwnedFile]) {
    switch request {
    case .identity(let name, let asker):
      let namespace = try namespace(file, asker, name)
      let identity = try within(namespace) { () throws(NetmapError) in
        try rights.identity(of: name)
      }
      return (
        OpenerAnswer.done {
          $0.put(identity.namespace)
          $0.put(identity.index)
        }, []
      )
    case .interface(let name, let asker):
      let namespace = try namespace(file, asker, name)
      try checkRoom(name)
      let found = try within(namespace) { () throws(NetmapError) in
        try rights.interface(named: name)
      }
      guard let found else { return (OpenerAnswer.done { $0.put(UInt32(0)) }, []) }
      let number = add(.interface(OpenedInterface(interface: found, namespace: namespace)))
      return (
        OpenerAnswer.done {
          $0.put(number)
          $0.put(found)
        }, []
      )
    case .close(let number):
      release(number)
      return (OpenerAnswer.done(), [])
    case .linkEvents(let number):
      let place = try interface(number)
      return try answer(
        with: within(place.namespace) { () throws(NetmapError) in
          try rights.linkEvents(of: place.interface)
        })
    case .packetSocket(let number):
      let place = try interface(number)
      return try answer(
        with: within(place.namespace) { () throws(NetmapError) in
          try rights.packetSocket(for: place.interface)
        })
    case .xdpSocket(let number, let memory):
      let place = try interface(number)
      return try answer(
        with: within(place.namespace) { () throws(NetmapError) in
          try xdpSocket(for: place.interface, memory, file)
        })
    case .xdpProgram(let number, let kind):
      let place = try interface(number)
      try checkRoom(place.interface.name)
      let program = try within(place.namespace) { () throws(NetmapError) in
        try rights.xdpProgram(on: place.interface, kind)
      }
      var files = [OwnedFile(try OwnedFile.duplicate(program.linkDescriptor))]
      if let work = program.workDescriptor {
        files.append(OwnedFile(try OwnedFile.duplicate(work)))
      }
      let made = add(.program(program))
      return (OpenerAnswer.done { $0.put(made) }, files)
    case .add(let number, let queue):
      guard case .program(let program) = objects[number] else { throw unknown(number) }
      guard let file, queue < 65_536, clinux_socket_family(file.descriptor) == CLINUX_AF_XDP else {
        throw NetmapError(
          .invalidArgument, "connect", "queue \(queue)",
          reason: "the descriptor is not an XDP socket")
      }
      try program.add(socket: file.descriptor, queue: Int(queue))
      return (OpenerAnswer.done(), [])
    case .remove(let number, let queue):
      guard case .program(let program) = objects[number] else { throw unknown(number) }
      if queue < 65_536 { program.remove(queue: Int(queue)) }
      return (OpenerAnswer.done(), [])
    case .ingressDrop(let number, let avoidingLinks):
      let place = try interface(number)
      try checkRoom(place.interface.name)
      let ingressDrop = try within(place.namespace) { () throws(NetmapError) in
        try rights.ingressDrop(place.interface, avoidingLinks: avoidingLinks)
      }
      var files: [OwnedFile] = []
      if let link = ingressDrop.linkDescriptor {
        files = [OwnedFile(try OwnedFile.duplicate(link))]
      }
      let made = add(.ingressDrop(ingressDrop))
      places[made] = place.namespace
      return (OpenerAnswer.done { $0.put(made) }, files)
    case .hostLeg(let number, let pairs):
      return try hostLeg(interface(number), pairs: Int(pairs))
    case .connectLeg(let number, let takesHostPackets, let marks):
      guard case .leg(let leg) = objects[number] else { throw unknown(number) }
      try within(places[number]) { () throws(NetmapError) in
        try leg.connect(takesHostPackets: takesHostPackets, marks: marks)
      }
      return (OpenerAnswer.done(), try leg.linkDescriptors.map(Self.copy))
    case .leave(let evenIfAsked):
      // Granted only once: after that the path belongs to the next daemon.
      isLeaving = isLeaving || mayLeave(evenIfAsked)
      return (OpenerAnswer.done { $0.put(UInt8(isLeaving ? 1 : 0)) }, [])
    case .startHost(let payer):
      let host = try hosts.start(file, for: payer)
      return (
        OpenerAnswer.done { $0.put(host.process) },
        [host.death, OwnedFile(try host.channel.take())] + (host.state.map { [$0] } ?? [])
      )
    case .endHost(let process):
      hosts.end(process)
      return (OpenerAnswer.done(), [])
    case .regionBlock:
      let block = regionBlocks?.take() ?? .max
      return (OpenerAnswer.done { $0.put(block) }, [])
    case .connect(let name):
      return (OpenerAnswer.done(), [try address.connectToken(named: name)])
    }
  }

  private static func copy(_ file: CInt) throws(NetmapError) -> OwnedFile {
    OwnedFile(try OwnedFile.duplicate(file))
  }

  private func hostLeg(
    _ place: OpenedInterface, pairs: Int
  ) throws(NetmapError) -> (bytes: [UInt8], files: [OwnedFile]) {
    try checkRoom(place.interface.name)
    let legs = objects.values.count { if case .leg = $0 { true } else { false } }
    guard legs < Self.legsMax else {
      throw NetmapError(
        .tooManyFiles, "open", place.interface.name,
        reason: "netmapd serves the host rings of \(legs) interfaces, which is the limit",
        remedy: "close some of them")
    }
    let leg = try within(place.namespace) { () throws(NetmapError) in
      try rights.hostLeg(for: place.interface, pairs: pairs)
    }
    let namespace = try NamespaceFile(Self.copy(leg.namespaceDescriptor))
    let files = try leg.linkDescriptors.map(Self.copy)
    let far = add(.interface(OpenedInterface(interface: leg.far, namespace: namespace)))
    let made = add(.leg(leg))
    places[made] = place.namespace
    return (
      OpenerAnswer.done {
        $0.put(made)
        $0.put(far)
        $0.put(leg.far)
      }, files
    )
  }

  /// The network namespaces of host ingress drops and legs, by number.
  private var places: [UInt32: NamespaceFile] = [:]

  /// Releases the object of a number.
  ///
  /// Does so in the object's network namespace, because a filter is removed by netlink.
  private func release(_ number: UInt32) {
    let place = places.removeValue(forKey: number)
    do throws(NetmapError) {
      try within(place) { () throws(NetmapError) in objects[number] = nil }
    } catch {
      objects[number] = nil
    }
  }

  private func answer(with file: CInt) throws(NetmapError) -> (bytes: [UInt8], files: [OwnedFile]) {
    (OpenerAnswer.done(), [OwnedFile(file)])
  }

  // MARK: - Numbers

  private func add(_ object: Object) -> UInt32 {
    repeat { lastNumber &+= 1 } while lastNumber == 0 || objects[lastNumber] != nil
    objects[lastNumber] = object
    return lastNumber
  }

  private func checkRoom(_ name: String) throws(NetmapError) {
    guard objects.count < Self.objectsMax else {
      throw NetmapError(
        .tooManyFiles, "open", name,
        reason: "netmapd has \(objects.count) interfaces and programs open, which is the limit",
        remedy: "close some ports")
    }
  }

  private func interface(_ number: UInt32) throws(NetmapError) -> OpenedInterface {
    guard case .interface(let found) = objects[number] else { throw unknown(number) }
    return found
  }

  private func unknown(_ number: UInt32) -> NetmapError {
    NetmapError(
      .badDescriptor, "ask", "netmapd's opener", reason: "no open object has number \(number)")
  }

  // MARK: - Descriptors that the broker passes on

  private func within<R>(
    _ namespace: NamespaceFile?, _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    try NamespaceFile.within(namespace, home: home, body)
  }

  /// The network namespace that a client passed; nil for the opener's own.
  ///
  /// Checks that the client may have interfaces of it opened.
  private func namespace(
    _ file: ForeignFile?, _ asker: OpenerRequest.Asker, _ name: String
  ) throws(NetmapError) -> NamespaceFile? {
    guard let file else { return nil }
    let namespace = try NamespaceFile(file, of: asker)
    if namespace.number == home?.number { return nil }
    try namespace.check()
    return namespace
  }

  private func xdpSocket(
    for interface: LinuxInterface, _ memory: OpenerRequest.Memory?, _ file: ForeignFile?
  ) throws(NetmapError) -> CInt {
    guard let memory else {
      return try rights.xdpSocket(for: interface, registering: nil, headroom: 0)
    }
    guard let file, let mapping = unsafe RegisteredMemory(file.descriptor, memory) else {
      throw NetmapError(
        .invalidArgument, "open", interface.name, reason: "the memory to register is not a region")
    }
    // If it cannot be unmapped, the broker could fill this process's address space, so end the
    // broker.
    defer { if unsafe !mapping.end() { isBetrayed = true } }
    return unsafe try XDPSocket.open(
      for: interface.name,
      registering: XDPUserMemory(
        base: mapping.base, byteCount: Int(memory.byteCount), chunkSize: Int(memory.chunkSize),
        headroom: Int(memory.headroom), regionID: memory.regionID))
  }
}
