internal import CLinux
internal import Glibc
package import NetmapClient
package import NetmapCore
internal import NetmapLinuxSetup

/// The half of root's netmapd that has privileges: does for the broker what takes them, and nothing else.
///
/// The broker meets input from everybody, so the opener takes it for hostile. A request is numbers and the name
/// of an interface; no path, no program, no address. What modules to run for whom it reads from the users themselves. Descriptors that come with one are looked at before
/// they are used. Memory that is shared is mapped to be registered with the kernel, and never read.
///
/// One thread, which answers one request after the other.
package final class Opener {
  /// What a number of the broker's stands for.
  private enum Object {
    case interface(OpenedInterface)
    case program(any AttachedXDPProgram)
    case blind(any AttachedBlind)
  }

  /// An interface, and where it is.
  private struct OpenedInterface {
    let interface: LinuxInterface
    /// Nil for the opener's own network namespace.
    let namespace: NamespaceFile?
  }

  /// The most that a broker has open at a time; each interface that is driven is two or three.
  private static let objectsMax = 4096

  private let rights = OwnInterfaceRights()
  private let home: NamespaceFile?
  private let closer: Closer
  private let user: UInt32
  private let address: DaemonAddress
  private let mayLeave: (_ evenIfAsked: Bool) -> Bool
  private var objects: [UInt32: Object] = [:]
  private var lastNumber: UInt32 = 0

  /// Whether the broker has been told that it may end.
  package private(set) var isLeaving = false

  /// - Parameters:
  ///   - user: The broker's.
  ///   - address: Where the daemon listens.
  ///   - mayLeave: Whether the broker may end now; removes the socket then.
  /// - Throws: ``NetmapError`` when descriptors have run out.
  package init(
    user: UInt32, _ address: DaemonAddress, mayLeave: @escaping (_ evenIfAsked: Bool) -> Bool
  ) throws(NetmapError) {
    self.address = address
    home = NamespaceFile.current()
    closer = try Closer()
    self.user = user
    self.mayLeave = mayLeave
  }

  /// Gives up everything that was opened for a broker that has ended. What its clients hold of it, a bpf_link
  /// of an interface that they have open, stays with them.
  package func forgetEverything() {
    for number in objects.keys {
      switch objects[number] {
      case .interface, nil: break
      case .program(let program): program.leaveToOthers()
      case .blind(let blind): blind.leaveToOthers()
      }
      release(number)
    }
  }

  /// Answers one request, if there is one.
  ///
  /// - Parameter socket: The broker's.
  /// - Returns: Whether the broker is to go on; false when it has hung up, or has sent what no broker of ours
  ///   sends.
  package func serve(_ socket: CInt) -> Bool {
    var bytes = [UInt8](repeating: 0, count: OpenerRequest.byteCountMax + 1)
    var files = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
    var (fileCount, truncated) = (0, CInt(0))
    let count = unsafe clinux_receive(
      socket, &bytes, bytes.count, &files, &fileCount, &truncated, CInt(MSG_DONTWAIT))
    if count < 0 { return errno == EAGAIN || errno == EINTR }
    let passed = files.prefix(fileCount).map { ForeignFile($0, of: user, closer) }
    guard count > 0, truncated == 0, passed.count <= 1,
      let request = OpenerRequest(Array(bytes.prefix(count)))
    else { return false }
    var answer: (bytes: [UInt8], files: [OwnedFile])
    do throws(NetmapError) {
      answer = try decide(request, passed.first)
    } catch {
      answer = (OpenerAnswer.refused(error), [])
    }
    // The broker reads one answer to each request, so a queue that is full is no broker's of ours.
    let sent = unsafe clinux_send(
      socket, answer.bytes, answer.bytes.count, answer.files.map(\.descriptor), answer.files.count,
      CInt(MSG_DONTWAIT))
    return sent == answer.bytes.count
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
    case .xdpProgram(let number, let isGeneric):
      let place = try interface(number)
      try checkRoom(place.interface.name)
      let program = try within(place.namespace) { () throws(NetmapError) in
        try rights.xdpProgram(on: place.interface, generic: isGeneric)
      }
      let link = OwnedFile(try OwnedFile.duplicate(program.linkDescriptor))
      let made = add(.program(program))
      return (OpenerAnswer.done { $0.put(made) }, [link])
    case .add(let number, let queue):
      guard case .program(let program) = objects[number] else { throw unknown(number) }
      guard let file, queue < 65_536, clinux_socket_family(file.descriptor) == CLINUX_AF_XDP else {
        throw NetmapError(
          .invalidArgument, "connect", "queue \(queue)", reason: "it is no XDP socket")
      }
      try program.add(socket: file.descriptor, queue: Int(queue))
      return (OpenerAnswer.done(), [])
    case .remove(let number, let queue):
      guard case .program(let program) = objects[number] else { throw unknown(number) }
      if queue < 65_536 { program.remove(queue: Int(queue)) }
      return (OpenerAnswer.done(), [])
    case .blind(let number, let avoidingLinks):
      let place = try interface(number)
      try checkRoom(place.interface.name)
      let blind = try within(place.namespace) { () throws(NetmapError) in
        try rights.blind(place.interface, avoidingLinks: avoidingLinks)
      }
      var files: [OwnedFile] = []
      if let link = blind.linkDescriptor { files = [OwnedFile(try OwnedFile.duplicate(link))] }
      let made = add(.blind(blind))
      places[made] = place.namespace
      return (OpenerAnswer.done { $0.put(made) }, files)
    case .leave(let evenIfAsked):
      let isGranted = mayLeave(evenIfAsked)
      isLeaving = isLeaving || isGranted
      return (OpenerAnswer.done { $0.put(UInt8(isGranted ? 1 : 0)) }, [])
    case .startHost:
      let host = try startHost(file)
      return (
        OpenerAnswer.done {
          $0.put(host.process)
          $0.put(host.user)
        }, [host.death, OwnedFile(try host.channel.take())] + (host.state.map { [$0] } ?? [])
      )
    case .endHost(let process):
      // Children of this process alone, and those that have been started for a module.
      hosts[process]?.end()
      reapHosts()
      return (OpenerAnswer.done(), [])
    }
  }

  // MARK: - Modules

  /// Processes that run modules, until they have ended.
  private var hosts: [Int32: HostProcess] = [:]

  /// Readable when such a process has ended.
  var hostDeaths: [CInt] { hosts.values.map(\.death.descriptor) }

  /// Forgets those that have ended.
  func reapHosts() {
    for host in hosts.values where host.hasEnded { hosts[host.process] = nil }
  }

  private func startHost(_ file: ForeignFile?) throws(NetmapError) -> HostProcess {
    reapHosts()
    let order = try order(in: file)
    guard hosts.count < HostProcess.countMax else { throw HostProcess.tooMany(order.bridge) }
    let host = try HostProcess(order, address)
    hosts[host.process] = host
    return host
  }

  /// What a user has asked for, as it lies in a socket: who has sent it, the kernel says.
  private func order(in file: ForeignFile?) throws(NetmapError) -> HostProcess.Order {
    func refusal(_ reason: String) -> NetmapError {
      NetmapError(
        .invalidArgument, "load", "module", reason: reason,
        remedy: "use one version of netmap for all processes")
    }
    guard let file, clinux_is_message_socket(file.descriptor) != 0,
      clinux_pass_credentials(file.descriptor) == 0
    else { throw refusal("the request has come without its seal") }
    let socket = PeerSocket(file, of: user, closer)
    guard case .message(let arrival) = socket.receive(), arrival.files.isEmpty else {
      throw refusal("its seal is empty")
    }
    var message = try Message(arrival.bytes)
    guard message.kind == .control,
      case .module(let bridge, .choose(let choice)) = try message.body.takeSwitchRequest(),
      case .loaded = choice
    else { throw refusal("it is no request to load a module") }
    try choice.check()
    return HostProcess.Order(
      bridge: bridge, choice: choice, user: arrival.sender.user, group: arrival.sender.group)
  }

  /// Where blinds are, by number.
  private var places: [UInt32: NamespaceFile] = [:]

  /// Ends what a number stands for: in its network namespace, as a filter is taken off by netlink.
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
        reason: "netmapd has \(objects.count) interfaces and programs open, which is the most",
        remedy: "close some ports")
    }
  }

  private func interface(_ number: UInt32) throws(NetmapError) -> OpenedInterface {
    guard case .interface(let found) = objects[number] else { throw unknown(number) }
    return found
  }

  private func unknown(_ number: UInt32) -> NetmapError {
    NetmapError(
      .badDescriptor, "ask", "netmapd's opener", reason: "number \(number) stands for nothing")
  }

  // MARK: - Descriptors that the broker passes on

  private func within<R>(
    _ namespace: NamespaceFile?, _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    try NamespaceFile.within(namespace, home: home, body)
  }

  /// The network namespace that a client passed, if it may have interfaces of it opened.
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
    guard let memory else { return try rights.xdpSocket(for: interface, registering: nil) }
    guard let file, let mapping = unsafe Mapping(file.descriptor, memory) else {
      throw NetmapError(
        .invalidArgument, "open", interface.name, reason: "what is to be registered is no region")
    }
    defer { unsafe mapping.end() }
    return unsafe try XDPSocket.open(
      for: interface.name,
      registering: XDPUserMemory(
        base: mapping.base, byteCount: Int(memory.byteCount), chunkSize: Int(memory.chunkSize),
        headroom: Int(memory.headroom), regionID: memory.regionID))
  }

  /// Buffers of a region in this process, as long as it takes to register them. Nobody reads them here.
  @unsafe
  private struct Mapping {
    let base: UnsafeMutableRawPointer
    private let byteCount: Int

    /// - Returns: Nil for anything but a memfd of a fixed size that has that many bytes.
    init?(_ file: CInt, _ memory: OpenerRequest.Memory) {
      // Asked of any other file, this is an error, and waits for nobody.
      let seals = fcntl(file, CInt(CLINUX_F_GET_SEALS), 0)
      let fixed = CInt(CLINUX_F_SEAL_SHRINK | CLINUX_F_SEAL_GROW)
      var status = stat()
      guard seals >= 0, seals & fixed == fixed, unsafe fstat(file, &status) == 0,
        status.st_size >= 0,
        memory.offset <= UInt64(status.st_size),
        memory.byteCount <= UInt64(status.st_size) - memory.offset,
        let base = unsafe mmap(
          nil, Int(memory.byteCount), PROT_READ | PROT_WRITE, MAP_SHARED, file,
          off_t(memory.offset)), unsafe base != MAP_FAILED
      else { return nil }
      unsafe self.base = unsafe base
      unsafe byteCount = Int(memory.byteCount)
    }

    func end() { unsafe munmap(base, byteCount) }
  }
}
