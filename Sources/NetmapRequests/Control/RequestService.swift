extension RequestLayer {
  /// Has the server answer a request, and stores the answer in the request.
  ///
  /// - Parameters:
  ///   - type: The request's type; nil if it is unknown.
  ///   - header: Gets the name in the answer to a list request.
  ///   - body: Gets the answer.
  ///   - options: Get their statuses, also if the request fails.
  /// - Throws: ``RequestErrno``: what the server refuses the request with; `EINVAL` for an unknown type, for a
  ///   virtio-net header of an odd length, and for `CSB_ENABLE` without its option; `EOPNOTSUPP` for a register
  ///   request with an option that the server has left alone.
  func serve(
    _ type: RequestType?, _ header: inout RequestHeader, _ body: inout RequestBody,
    _ options: inout OptionList
  ) throws(RequestErrno) {
    let name = header.name
    switch type {
    case .register: try register(name, &body, &options)
    case .portInfo: try portInfo(name, &body)
    case .poolsInfo: try poolsInfo(name, &body)
    case .attach:
      body.store(try server.attach(AttachCall(name: name, binding: RequestedBinding(body))))
    case .detach: body.store(try server.detach(name), at: RequestLayout.Detach.portIndex)
    case .list: try list(&header, &body)
    case .setHeaderLength: try setHeaderLength(name, body)
    case .headerLength:
      body.store(try server.headerLength(of: name), at: RequestLayout.PortHeader.length)
    case .createInterface: try createInterface(name, &body)
    case .removeInterface: try server.removeInterface(name)
    case .startPolling: try server.startPolling(PollingCall(name, body))
    case .stopPolling: try server.stopPolling(PollingCall(name, body))
    case .enableControlBlocks: try enableControlBlocks(&options)
    case .startLoop: try startLoop(body, &options)
    case .stopLoop: try server.stopLoop()
    case nil: throw .invalidArgument
    }
  }

  private func register(
    _ name: RequestName, _ body: inout RequestBody, _ options: inout OptionList
  ) throws(RequestErrno) {
    var call = RegisterCall(
      name: name, binding: RequestedBinding(body), externalMemory: options.externalMemory,
      offsets: options.offsets, controlBlocks: options.controlBlocks,
      hasForeignOptions: options.hasForeign)
    let answer = try register(&call, storingStatusesIn: &options)
    // Only now, as in netmap: every other reason to refuse the request goes before this one.
    guard !call.hasUnusedOptions else {
      server.undoRegister()
      throw .unsupported
    }
    body.store(answer)
    body.storeMonitorDirections(of: call.binding)
  }

  private func register(
    _ call: inout RegisterCall, storingStatusesIn options: inout OptionList
  ) throws(RequestErrno) -> RegisterAnswer {
    defer {
      options.store(call.externalMemory)
      options.store(call.offsets)
      options.store(call.controlBlocks)
    }
    return try server.register(&call)
  }

  private func portInfo(_ name: RequestName, _ body: inout RequestBody) throws(RequestErrno) {
    typealias Layout = RequestLayout.PortInfo
    let call = PortInfoCall(
      name: name, hints: RingCounts(body, Layout.counts), memoryID: body.load(Layout.memoryID))
    body.store(try server.portInfo(call))
  }

  private func poolsInfo(_ name: RequestName, _ body: inout RequestBody) throws(RequestErrno) {
    let call = PoolsInfoCall(name: name, memoryID: body.load(RequestLayout.Pools.memoryID))
    body.store(try server.poolsInfo(call), at: 0)
  }

  private func list(
    _ header: inout RequestHeader, _ body: inout RequestBody
  ) throws(RequestErrno) {
    let call = ListCall(
      name: header.name, switchIndex: body.load(RequestLayout.List.switchIndex),
      portIndex: body.load(RequestLayout.List.portIndex))
    let answer = try server.list(call)
    body.store(answer)
    if let name = answer.name { header.store(name) }
  }

  private func setHeaderLength(_ name: RequestName, _ body: RequestBody) throws(RequestErrno) {
    let length: UInt32 = body.load(RequestLayout.PortHeader.length)
    // netmap checks the length before it looks for the port.
    guard [0, 10, 12].contains(length) else { throw .invalidArgument }
    try server.setHeaderLength(length, of: name)
  }

  private func createInterface(
    _ name: RequestName, _ body: inout RequestBody
  ) throws(RequestErrno) {
    typealias Layout = RequestLayout.NewInterface
    var call = NewInterfaceCall(
      name: name, counts: RingCounts(body, Layout.counts), memoryID: body.load(Layout.memoryID))
    try server.createInterface(&call)
    body.store(call)
  }

  private func enableControlBlocks(_ options: inout OptionList) throws(RequestErrno) {
    guard var blocks = options.controlBlocks else { throw .invalidArgument }
    defer { options.store(blocks) }
    do throws(RequestErrno) {
      try server.enableControlBlocks(blocks)
      blocks.status = .accepted
    } catch {
      blocks.status = .refused(error)
      throw error
    }
  }

  private func startLoop(
    _ body: RequestBody, _ options: inout OptionList
  ) throws(RequestErrno) {
    var call = StartLoopCall(
      sleepMicroseconds: body.load(RequestLayout.LoopStart.sleep),
      eventDescriptors: options.eventDescriptors, mode: options.loopMode)
    defer { options.store(call.eventDescriptors, call.mode) }
    try server.startLoop(&call)
  }
}
