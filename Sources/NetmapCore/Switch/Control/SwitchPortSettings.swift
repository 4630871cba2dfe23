// Settings of switch ports: virtio-net headers (`PORT_HDR_SET`) and backpressure.

extension EngineState {
  /// `PORT_HDR_SET`: sets the length of the virtio-net header that every frame of a port begins with from now on.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for a length other than 0, 10 and 12, `ENXIO` when there is no such port on
  ///   a switch.
  func setHeader(_ name: PortName, length: Int) throws(NetmapError) -> SwitchAnswer {
    guard length == 0 || VirtioHeader.isLength(length) else {
      throw NetmapError(
        .invalidArgument, "set the virtio-net header of", name.rawValue,
        reason: "a virtio-net header cannot have \(length) bytes", remedy: "use 0, 10 or 12")
    }
    guard let port = existingSwitchPort(name) else {
      throw NetmapError(
        .noSuchDevice, "set the virtio-net header of", name.rawValue,
        reason: "there is no such port on a switch", remedy: "open it first")
    }
    port.headerLength = length
    // Not reset when headers are turned off: a program that used them may go on to send long packets without them.
    if length > 0 { port.frameLimit = port.region.layout.buffers.size }
    port.publishSwitchState()
    return headerAnswer(port)
  }

  /// `PORT_HDR_GET`: the length of a port's virtio-net header; 0 for ports that have no such headers.
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when there is no such port, `ENODEV` for a pipe that does not exist.
  func header(_ name: PortName) throws(NetmapError) -> SwitchAnswer {
    func refusal(_ code: NetmapError.Code, _ reason: String) -> NetmapError {
      NetmapError(code, "get the virtio-net header of", name.rawValue, reason: reason)
    }
    if let pipe = name.pipe {
      guard let parent = ports[.name(name.base)], parent.pipes[pipe.idBytes] != nil else {
        throw refusal(.notFound, "the pipe does not exist")
      }
      return SwitchAnswer()
    }
    if let port = existingSwitchPort(name) { return headerAnswer(port) }
    if ports[.name(name)] != nil { return SwitchAnswer() }
    guard !name.isVale, try isInterface(name.rawValue) else {
      throw refusal(.noSuchDevice, "there is no such port")
    }
    return SwitchAnswer()
  }

  private func headerAnswer(_ port: EnginePort) -> SwitchAnswer {
    var answer = port.answer
    answer.headerLength = port.headerLength
    return answer
  }

  /// A switch port, by its name on the switch or by its own name.
  private func existingSwitchPort(_ name: PortName) -> EnginePort? {
    if let port = ports[.name(name)], port.ringKind == .vale { return port }
    for vale in switches.values {
      if let member = vale.members.values.first(where: { $0.name == name }) { return member.port }
    }
    return nil
  }

  /// Refuses a program that does not accept virtio-net headers: it would take them for Ethernet addresses.
  func checkHeader(_ port: EnginePort, _ flags: BindingFlags) throws(NetmapError) {
    guard port.headerLength > 0, !flags.contains(.acceptVirtioNetHeader) else { return }
    throw NetmapError(
      .inputOutput, "open", port.name.rawValue,
      reason: "its frames begin with a virtio-net header of \(port.headerLength) bytes",
      remedy: "open it with NR_ACCEPT_VNET_HDR, or set the length of the header to 0")
  }

  /// Refuses backpressure on ports of other kinds: only senders on a switch drop packets.
  func checkBackpressure(
    _ port: EnginePort, _ extensions: PortExtensions
  ) throws(NetmapError) {
    guard extensions.contains(.backpressure), port.ringKind != .vale else { return }
    throw NetmapError(
      .invalidArgument, "open", port.name.rawValue,
      reason: "back-pressure is an option of switch ports; pipes always have it",
      remedy: "leave '@backpressure' out")
  }
}

extension BindingRecord {
  /// Whether senders wait for room in the binding's receive rings, instead of dropping packets.
  var asksForBackpressure: Bool { extensions.contains(.backpressure) && !ranges.receive.isEmpty }
}
