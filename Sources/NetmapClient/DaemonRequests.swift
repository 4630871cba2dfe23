internal import CLinux
internal import Glibc
package import NetmapCore

// Requests of a process that open no port.

extension DaemonConnection {
  /// The rings and the memory that a port has, or would have if it were opened.
  ///
  /// - Parameters:
  ///   - request: The port, with hints for a port that does not exist yet. Nil asks about memory only.
  ///   - memoryID: The region to ask about when there is no request; 0 for the one that interfaces share.
  /// - Returns: The rings and the memory.
  /// - Throws: ``NetmapError`` as ``Engine/portInfo(_:memoryID:)``.
  package func portInfo(
    _ request: RegisterRequest?, memoryID: UInt16 = 0
  ) throws(NetmapError) -> PortInfo {
    try checkProcess()
    var body = try ask(
      Message.bytes(.portInfo) { $0.put(portInfo: request, memoryID: memoryID) },
      on: mailbox.socket, namespace: try request.flatMap(namespace(of:))
    ).body
    return try body.takePortInfo()
  }

  /// The pools of the region that a port has, or would have if it were opened.
  ///
  /// - Throws: ``NetmapError`` as ``Engine/poolsInfo(_:)``.
  package func poolsInfo(_ request: RegisterRequest) throws(NetmapError) -> PoolsInfo {
    try checkProcess()
    var body = try ask(
      Message.bytes(.poolsInfo) { $0.put(request) }, on: mailbox.socket,
      namespace: try namespace(of: request)
    ).body
    return try body.takePoolsInfo()
  }

  /// Sends a request about switches.
  ///
  /// Interface names are looked up in the calling thread's network namespace.
  ///
  /// - Throws: ``NetmapError`` as ``Engine/answer(_:)``.
  package func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer {
    try checkProcess()
    var file = try request.name.flatMap(way.namespace)
    if case .module(_, .choose(.loaded)) = request { file = try Self.sealed(request) }
    var body = try ask(
      Message.bytes(.control) { $0.put(request) }, on: mailbox.socket, namespace: file,
      within: DaemonAddress.patience
    ).body
    return try body.takeSwitchAnswer()
  }

  /// Puts a request into a socket of its own, together with this process's credentials as the
  /// kernel checks them.
  ///
  /// The process that runs a module for this user trusts no other statement about who asks for the
  /// module.
  ///
  /// - Returns: The socket on which the request can be received.
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

  /// All open ports: see ``PortListing``.
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

  /// Has the daemon check the memory of all ports, for example for buffers that are lost or owned
  /// twice.
  ///
  /// ``Engine/check()`` says which findings about ports in use are reliable.
  package func check() throws(NetmapError) -> DaemonCheck {
    try checkProcess()
    var body = try ask(
      Message.bytes(.check), on: mailbox.socket, within: DaemonAddress.patience
    ).body
    return try body.takeCheck()
  }

  /// All tunables of the daemon.
  package func tunables() throws(NetmapError) -> [TunableState] { try tune(.list) }

  /// Sets a tunable of the daemon.
  ///
  /// - Returns: The tunable, with the value that counts now.
  /// - Throws: ``NetmapError`` as ``Engine/set(_:to:by:)``, and `EPERM` for a user who is neither root nor the one who runs
  ///   the daemon.
  package func set(_ tunable: Tunable, to value: Int) throws(NetmapError) -> TunableState {
    let answer = try tune(.set(tunable, value))
    guard let state = answer.first, state.tunable == tunable else {
      throw NetmapError(
        .inputOutput, "set", tunable.name, reason: "netmapd's answer is about something else",
        remedy: "use one version of netmap for all processes")
    }
    return state
  }

  private func tune(_ request: TunableRequest) throws(NetmapError) -> [TunableState] {
    try checkProcess()
    var body = try ask(
      Message.bytes(.tunables) { $0.put(request) }, on: mailbox.socket,
      within: DaemonAddress.patience
    ).body
    return try body.takeTunables()
  }

  /// Has the daemon dump the records and the memory that describe all ports, without packets.
  ///
  /// - Returns: The dump, for ``EngineDump/init(_:)``.
  /// - Throws: ``NetmapError`` as for other requests.
  package func dump() throws(NetmapError) -> [UInt8] {
    try checkProcess()
    let answer = try ask(
      Message.bytes(.dump), on: mailbox.socket, within: DaemonAddress.patience)
    guard let file = answer.files.first else {
      throw answer.body.malformed("a descriptor is missing")
    }
    return try DumpedBytes.bytes(
      in: SharedMemory(mapping: file.descriptor, readOnly: true, keepsDescriptor: false))
  }
}
