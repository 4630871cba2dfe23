// Persistent ports (`VALE_NEWIF`): they exist before and after programs open them, on a switch or
// on none.

extension EngineState {
  /// Whether a name means a network interface in the calling thread's network namespace.
  func isInterface(_ name: String) throws(NetmapError) -> Bool {
    try (interfaces?.identity(of: name)?.index ?? 0) != 0
  }

  /// Whether a name is that of a network interface or of a persistent port.
  func isKnown(_ name: String) throws(NetmapError) -> Bool {
    if persistent[name] != nil { return true }
    return try isInterface(name)
  }

  func createPersistent(_ request: RegisterRequest) throws(NetmapError) -> SwitchAnswer {
    let name = request.name
    func refusal(_ code: NetmapError.Code, _ reason: String, _ remedy: String) -> NetmapError {
      NetmapError(code, "create", name.rawValue, reason: reason, remedy: remedy)
    }
    guard !name.isVale, name.pipe == nil else {
      throw refusal(
        .invalidArgument, "a persistent port cannot have the name of a switch port or a pipe",
        "choose another name, and attach the port to a switch later")
    }
    guard name.bytes.count <= EngineLimits.interfaceNameLength else {
      throw refusal(
        .invalidArgument, "the name has \(name.bytes.count) characters",
        "use at most \(EngineLimits.interfaceNameLength)")
    }
    let isTaken = try isKnown(name.rawValue)
    guard !isTaken, ports[.name(name)] == nil else {
      throw refusal(
        .alreadyExists, "there is an interface or a port of that name", "choose another name")
    }
    let shared = request.memoryID == 0 ? nil : try region(request.memoryID, for: name.rawValue)
    let port = try newSwitchPort(
      name, Self.switchGeometry(request.hints), shared,
      extraBuffers: min(request.extraBuffers, EngineLimits.extraBuffers))
    port.isPersistent = true
    persistent[name.rawValue] = port
    ports[.name(name)] = port
    return port.answer
  }

  func removePersistent(_ name: PortName) throws(NetmapError) -> SwitchAnswer {
    func refusal(_ code: NetmapError.Code, _ reason: String, _ remedy: String) -> NetmapError {
      NetmapError(code, "remove", name.rawValue, reason: reason, remedy: remedy)
    }
    guard let port = persistent[name.rawValue] else {
      let isOther = try isInterface(name.rawValue)
      throw isOther || ports[.name(name)] != nil
        ? refusal(
          .invalidArgument, "it is not a persistent port",
          "other ports end when the last program closes them")
        : refusal(.noSuchDevice, "there is no persistent port of that name", "see vale-ctl -n")
    }
    guard port.isIdle else {
      throw refusal(.busy, "programs have it open", "close it in these programs first")
    }
    if let member = port.memberships.last {
      throw refusal(
        .busy, "it is attached to a switch", "detach it first: vale-ctl -d \(member.name.rawValue)")
    }
    persistent[name.rawValue] = nil
    let answer = port.answer
    port.isPersistent = false
    dropIfUnused(port)
    return answer
  }
}
