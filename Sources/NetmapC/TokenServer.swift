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
    applied.controlBlocks?.status = .accepted
    let request = try RegisterRequest(call)
    // A token that is bound stays bound, so options that cannot be used are refused before. That there is no such port
    // goes first, as in netmap.
    guard !applied.hasUnusedOptions else {
      _ = try asking { (_, connection) throws(NetmapError) in try connection.portInfo(request) }
      throw .unsupported
    }
    var refusal: RequestErrno?
    let blocks = call.controlBlocks
    let registration = try asking { (token, connection) throws(NetmapError) in
      let identity = try token.identity()
      let opened = try connection.register(request, on: token, viewEnd: .withToken)
      let port: PortInUse
      do throws(NetmapError) {
        port = try PortInUse(opened, connection)
      } catch {
        connection.unbind(opened)
        throw error
      }
      do throws(RequestErrno) {
        if let blocks { try port.enable(blocks, identity) }
        unsafe HalfState.bound = (identity, port)
      } catch {
        refusal = error
        port.port.detach()
        connection.unbind(opened)
      }
      return opened.registration
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

  // Messages to modules are not there yet.

  func configure(_ call: inout ConfigureCall) throws(RequestErrno) { throw .unsupported }

  // The C half syncs without this layer.

  func synchronizeTransmit() throws(RequestErrno) { throw .unsupported }

  func synchronizeReceive() throws(RequestErrno) { throw .unsupported }
}
