internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapRequests

/// Serves the requests of a C program on one token, by asking the token's daemon.
struct TokenServer: RequestServer {
  private let descriptor: CInt
  /// Set if the request has asked a loop to stop, and its end has to be waited for.
  let waitsForLoop = Flag()

  final class Flag {
    var isSet = false
  }

  init(_ descriptor: CInt) {
    self.descriptor = descriptor
  }

  /// Runs `body` with a copy of the token and this process as a client of its daemon.
  private func asking<R>(
    _ body: (Token, DaemonConnection) throws(NetmapError) -> R
  ) throws(RequestErrno) -> R {
    do throws(NetmapError) {
      return try HalfState.withToken(descriptor, body)
    } catch {
      throw RequestErrno(error)
    }
  }

  private func answer(_ request: SwitchRequest) throws(RequestErrno) -> SwitchAnswer {
    try asking { (_, connection) throws(NetmapError) in try connection.answer(request) }
  }

  func register(_ call: inout RegisterCall) throws(RequestErrno) -> RegisterAnswer {
    var applied = call
    applied.offsets?.status = .accepted
    applied.externalMemory?.status = .accepted
    applied.controlBlocks?.status = .accepted
    let range = try programRange(of: &call)
    var request = try RegisterRequest(call)
    if let asked = call.externalMemory {
      request.memory = ProgramMemory(asked.pools, range?.origin)
    }
    // A token that is bound stays bound, so options that cannot be used are refused before. That there is no such port
    // goes first, as in netmap.
    guard !applied.hasUnusedOptions else {
      _ = try asking { (_, connection) throws(NetmapError) in try connection.portInfo(request) }
      throw .unsupported
    }
    let (registration, refusal): (Registration, RequestErrno?)
    do throws(RequestErrno) {
      (registration, refusal) = try bind(request, range, call.controlBlocks)
    } catch {
      // In netmap the memory is made into a region before the port is looked for.
      if let memory = request.memory, (try? memory.layout) == nil {
        call.externalMemory?.status = .refused(error)
      }
      throw error
    }
    if let refusal {
      call.offsets?.status = .accepted
      call.controlBlocks?.status = .refused(refusal)
      throw refusal
    }
    call.controlBlocks?.status = .accepted
    if let maximum = registration.offsetMax { call.offsets?.maximum = maximum }
    call.offsets?.status = .accepted
    return RegisterAnswer(
      interfaceOffset: UInt64(registration.interfaceOffset),
      memorySize: UInt64(registration.memorySize), memoryID: registration.memoryID,
      counts: RingCounts(registration.geometry),
      extraBuffers: UInt32(clamping: registration.extraBuffers))
  }

  /// Binds the port.
  ///
  /// - Returns: What was bound. With the reason why CSB mode was refused; the port is not bound then.
  private func bind(
    _ request: RegisterRequest, _ range: ProgramRange?, _ blocks: RequestedControlBlocks?
  ) throws(RequestErrno) -> (Registration, RequestErrno?) {
    var refusal: RequestErrno?
    let registration = try asking { (token, connection) throws(NetmapError) in
      let identity = try token.identity()
      let opened = try connection.register(request, on: token, viewEnd: .withToken)
      do throws(NetmapError) {
        let port = try PortInUse(opened, connection)
        do throws(NetmapError) {
          if let range { try opened.place(in: range) }
        } catch {
          port.leave()
          throw error
        }
        do throws(RequestErrno) {
          if let blocks { try port.enable(blocks, identity) }
          unsafe HalfState.bound = (identity, port)
        } catch {
          refusal = error
          port.leave()
          connection.unbind(opened)
        }
      } catch {
        connection.unbind(opened)
        throw error
      }
      return opened.registration
    }
    return (registration, refusal)
  }

  /// The memory of the program that a request is to use, after a look at its pages; nil if the request has none. Sets the
  /// status of the option, and replaces zeros in it by netmap's defaults.
  private func programRange(
    of call: inout RegisterCall
  ) throws(RequestErrno) -> ProgramRange? {
    guard var asked = call.externalMemory else { return nil }
    defer { call.externalMemory = asked }
    asked.pools.fillIn(ProgramMemory.defaults)
    do throws(NetmapError) {
      let range = try ProgramRange(at: asked.address, byteCount: asked.pools.memorySize)
      asked.status = .accepted
      return range
    } catch {
      let reason = RequestErrno(error)
      asked.status = .refused(reason)
      throw reason
    }
  }

  // Cannot happen: see register(_:).
  func undoRegister() {}

  func portInfo(_ call: PortInfoCall) throws(RequestErrno) -> PortInfoAnswer {
    let request =
      try call.name.isEmpty
      ? nil : RegisterRequest(call.name, call.hints, memoryID: call.memoryID)
    let info = try asking { (_, connection) throws(NetmapError) in
      try connection.portInfo(request, memoryID: call.memoryID)
    }
    return PortInfoAnswer(
      memorySize: UInt64(info.memorySize), memoryID: info.memoryID,
      counts: info.geometry.map { RingCounts($0) })
  }

  func poolsInfo(_ call: PoolsInfoCall) throws(RequestErrno) -> PoolsDescription {
    let request = try RegisterRequest(call.name, RingCounts(), memoryID: call.memoryID)
    let info = try asking { (_, connection) throws(NetmapError) in
      try connection.poolsInfo(request)
    }
    var result = PoolsDescription()
    result.memorySize = UInt64(info.memorySize)
    result.memoryID = info.memoryID
    result.interfaces = .init(info.interfaces)
    result.rings = .init(info.rings)
    result.buffers = .init(info.buffers)
    return result
  }

  func attach(_ call: AttachCall) throws(RequestErrno) -> AttachAnswer {
    let answer = try answer(.attach(RegisterRequest(call.name, call.binding)))
    return AttachAnswer(portIndex: UInt32(clamping: answer.portIndex), memoryID: answer.memoryID)
  }

  func detach(_ name: RequestName) throws(RequestErrno) -> UInt32 {
    UInt32(clamping: try answer(.detach(PortName(name))).portIndex)
  }

  func list(_ call: ListCall) throws(RequestErrno) -> ListAnswer {
    let isSearch = call.name.isEmpty
    let request: SwitchRequest =
      isSearch
      ? .next(switch: Int(call.switchIndex), port: Int(call.portIndex))
      : .find(try PortName(call.name))
    let answer = try answer(request)
    return ListAnswer(
      switchIndex: UInt16(clamping: answer.switchIndex),
      portIndex: UInt32(clamping: answer.portIndex),
      name: isSearch ? RequestName(answer.name.utf8) : nil)
  }

  func setHeaderLength(_ length: UInt32, of name: RequestName) throws(RequestErrno) {
    _ = try answer(.setHeader(PortName(name), length: Int(length)))
  }

  func headerLength(of name: RequestName) throws(RequestErrno) -> UInt32 {
    UInt32(clamping: try answer(.header(PortName(name))).headerLength)
  }

  func createInterface(_ call: inout NewInterfaceCall) throws(RequestErrno) {
    let request = try RegisterRequest(call.name, call.counts, memoryID: call.memoryID)
    let answer = try answer(.create(request))
    call.counts = RingCounts(answer.geometry)
    call.memoryID = answer.memoryID
  }

  func removeInterface(_ name: RequestName) throws(RequestErrno) {
    _ = try answer(.remove(PortName(name)))
  }

  func startPolling(_ call: PollingCall) throws(RequestErrno) {
    _ = try answer(.polling(PortName(call.name), PollingCPUs(call)))
  }

  func stopPolling(_ call: PollingCall) throws(RequestErrno) {
    _ = try answer(.polling(PortName(call.name), nil))
  }

  func enableControlBlocks(_ blocks: RequestedControlBlocks) throws(RequestErrno) {
    do throws(RequestErrno) {
      let (identity, port) = try boundPort()
      try port.enable(blocks, identity)
    } catch {
      // netmap finds no rings that the blocks would be for.
      guard error == .notBound else { throw error }
    }
  }

  func startLoop(_ call: inout StartLoopCall) throws(RequestErrno) {
    guard call.sleepMicroseconds <= LoopInUse.longestPause else { throw .invalidArgument }
    let (identity, port) = try boundPort()
    unsafe HalfState.started = try LoopInUse(port, identity, &call)
  }

  func stopLoop() throws(RequestErrno) {
    try boundPort().1.port.requestLoopStop()
    waitsForLoop.isSet = true
  }

  private func boundPort() throws(RequestErrno) -> (TokenIdentity, PortInUse) {
    do throws(NetmapError) {
      return try HalfState.port(of: descriptor)
    } catch {
      throw RequestErrno(error)
    }
  }

  /// Modules get their configuration as text. netmap answers the same where a switch's module takes no messages, as its
  /// learning bridge, and where there is no such switch.
  func configure(_ call: inout ConfigureCall) throws(RequestErrno) {
    throw RequestErrno(
      NetmapError(
        .invalidArgument, "configure", "a switch (NIOCCONFIG)",
        reason: "modules of switches take no messages",
        remedy: "configure them with vale-ctl --set-module"))
  }

  // The C half syncs without this layer.

  func synchronizeTransmit() throws(RequestErrno) { throw .unsupported }

  func synchronizeReceive() throws(RequestErrno) { throw .unsupported }
}
