// Finds the port that a name means. Creates it where netmap creates ports on demand: pipes, and parents of pipes
// that are not interfaces (`netmap_get_na`).

extension EngineState {
  /// The port that a request names, created if necessary.
  ///
  /// The caller must drop the port again (`dropIfUnused`) if it does not bind it.
  func findPort(_ request: RegisterRequest) throws(NetmapError) -> EnginePort {
    let name = request.name.rawValue
    // The region's number is checked before anything else, even where it will not be used.
    let region =
      request.memoryID == 0 ? nil : try region(request.memoryID, for: name)
    if let region, isOfMonitor(region) {
      throw NetmapError(
        .invalidArgument, "open", name,
        reason: "memory region \(region.id) is that of a monitor, and of no other port",
        remedy: "leave the number out, or use the number of another port")
    }
    if request.selection == .null { return try nullPort(request, region) }
    if request.flags.isMonitor { return try monitorPort(request) }
    if let pipe = request.name.pipe {
      return try pipePair(pipe, request, region).end(pipe.role)
    }
    if request.name.isVale { return try switchPort(request, region) }
    guard let port = try interfacePort(request.name, request.backend, request.hints),
      port.isInterface || !request.extensions.contains(.interfaceOnly)
    else {
      throw NetmapError(
        .noSuchDevice, "open", name, reason: "there is no interface or port of that name",
        remedy: interfaces == nil
          ? "this engine drives no network interfaces; pipes (netmap:NAME{1) need none"
          : "see 'ip link' for the interfaces of this network namespace")
    }
    return port
  }

  /// The port of this name: an open port, or an interface, which is opened if necessary. Nil when there is none.
  func interfacePort(
    _ name: PortName, _ backend: PortSpecification.BackendChoice?, _ hints: RingGeometryHints
  ) throws(NetmapError) -> EnginePort? {
    let named = ports[.name(name)]
    // A virtual port, which is only the parent of pipes, must not hide an interface of the same name.
    if let named, !named.isVirtual { return named }
    if let identity = try interfaces?.identity(of: name.rawValue),
      let port = ports[.interface(identity)]
    {
      return port
    }
    var hints = hints
    // As with netmap, an interface does not ask the program how long its rings are.
    hints.transmitSlots = UInt32(clamping: tunables.given(.genericRingSize) ?? 0)
    hints.receiveSlots = hints.transmitSlots
    guard let interface = try interfaces?.open(name.rawValue, backend: backend, hints: hints)
    else {
      return named
    }
    if tunables.wantsNativeDrivers {
      throw NetmapError(
        .unsupported, "open", name.rawValue,
        reason: "the tunable admode asks for a driver with netmap in it, and there is none",
        remedy: "use the drivers that there are: netmap config set admode=0")
    }
    // The name may have come to mean another interface since its identity was looked up.
    if let identity = interface.identity {
      if let port = ports[.interface(identity)] { return port }
    } else if let named {
      return named
    }
    let region = try globalRegion(for: interface.geometry)
    let segment = try SyncSegment(
      creating: "netmap-port-\(name.rawValue)", ends: [interface.geometry], region: region.layout)
    let port = EnginePort(
      name: name, kind: .interface(interface), geometry: interface.geometry, segment: segment,
      end: 0, region: region, bindingSlots: BindingSlots())
    ports[port.key] = port
    return port
  }

  /// The parent of a pipe that is open, even if the parent's name now means another interface, or none.
  ///
  /// The two ends of a pipe must meet as long as one of them is open. Only a parent in the calling thread's network
  /// namespace counts.
  private func formerParent(
    _ name: PortName, of pipe: PortName.Pipe
  ) throws(NetmapError) -> EnginePort? {
    let candidates = ports.values.filter { $0.name == name && $0.pipes[pipe.idBytes] != nil }
    guard !candidates.isEmpty else { return nil }
    let here = try interfaces?.identity(of: name.rawValue)?.namespace
    return candidates.first { $0.identity?.namespace == here }
  }

  private func nullPort(
    _ request: RegisterRequest, _ region: Region?
  ) throws(NetmapError) -> EnginePort {
    guard let region else {
      throw NetmapError(
        .invalidArgument, "open", request.name.rawValue,
        reason: "a null port has no memory of its own",
        remedy: "name the region to use, for example netmap:NAME@1")
    }
    let hints = request.hints
    let geometry = PortGeometry(
      transmitRings: Int(hints.transmitRings), receiveRings: Int(hints.receiveRings),
      transmitSlots: Int(hints.transmitSlots), receiveSlots: Int(hints.receiveSlots))
    for (slots, rings) in [
      (geometry.transmitSlots, geometry.transmitRings),
      (geometry.receiveSlots, geometry.receiveRings),
    ] where rings > 0 && !(1...65_536).contains(slots) {
      throw NetmapError(
        .invalidArgument, "open", request.name.rawValue,
        reason: "a ring cannot have \(slots) slots", remedy: "use 1 to 65536 slots")
    }
    let segment = try SyncSegment(
      creating: "netmap-null", ends: [geometry], region: region.layout)
    return EnginePort(
      name: request.name, kind: .null, geometry: geometry, segment: segment, end: 0,
      region: region, bindingSlots: BindingSlots())
  }

  /// The pipe that the request names. Creates the pipe and its parent if they do not exist.
  private func pipePair(
    _ pipe: PortName.Pipe, _ request: RegisterRequest, _ region: Region?
  ) throws(NetmapError) -> PipePair {
    switch request.selection {
    case .allHardware, .oneHardware: break
    case .host, .hardwareAndHost, .oneHost, .null:
      throw NetmapError(
        .invalidArgument, "open", request.name.rawValue, reason: "a pipe has no host rings",
        remedy: "open it without '^' and '*'")
    }
    let parent: EnginePort
    if let former = try formerParent(request.name.base, of: pipe) {
      parent = former
    } else {
      parent = try pipeParent(request, region)
    }
    if let pair = parent.pipes[pipe.idBytes] { return pair }
    try parent.checkFree()
    do throws(NetmapError) {
      return try newPipe(pipe, request, parent)
    } catch {
      dropIfUnused(parent)
      throw error
    }
  }

  private func pipeParent(
    _ request: RegisterRequest, _ region: Region?
  ) throws(NetmapError) -> EnginePort {
    let base = request.name.base
    if let pipe = base.pipe {
      // A pipe may hang on the end of another pipe.
      var parent = request
      parent.name = base
      parent.selection = .allHardware
      return try pipePair(pipe, parent, region).end(pipe.role)
    }
    if base.isVale { return try switchPort(request, region) }
    if let port = try interfacePort(base, request.backend, .none) { return port }
    guard base.bytes.count <= EngineLimits.interfaceNameLength else {
      throw NetmapError(
        .noSuchDevice, "open", request.name.rawValue,
        reason: "there is no interface \(base.rawValue), and the name is too long to create one",
        remedy: "use at most \(EngineLimits.interfaceNameLength) characters before the bracket")
    }
    return try virtualPort(base, request, region)
  }

  /// Creates a parent for pipes where there is no interface. The parent goes when its last pipe goes.
  private func virtualPort(
    _ name: PortName, _ request: RegisterRequest, _ shared: Region?
  ) throws(NetmapError) -> EnginePort {
    let hints = request.hints
    let slots = EngineLimits.pipeSlots
    let rings = EngineLimits.pipeRings
    let geometry = PortGeometry(
      transmitRings: EngineLimits.bound(Int(hints.transmitRings), default: 1, in: rings),
      receiveRings: EngineLimits.bound(Int(hints.receiveRings), default: 1, in: rings),
      transmitSlots: EngineLimits.bound(
        Int(hints.transmitSlots), default: EngineLimits.defaultSlots, in: slots),
      receiveSlots: EngineLimits.bound(
        Int(hints.receiveSlots), default: EngineLimits.defaultSlots, in: slots))
    let region: Region
    if let shared {
      region = shared
    } else {
      region = try newRegion(
        .virtualPort(
          geometry, extraBuffers: min(request.extraBuffers, EngineLimits.extraBuffers),
          tunables.privateMinimums))
    }
    do throws(NetmapError) {
      let segment = try SyncSegment(
        creating: "netmap-port-\(name.rawValue)", ends: [geometry], region: region.layout)
      let port = EnginePort(
        name: name, kind: .virtual, geometry: geometry, segment: segment, end: 0, region: region,
        bindingSlots: BindingSlots())
      ports[port.key] = port
      return port
    } catch {
      dropIfUnused(region)
      throw error
    }
  }

  private func newPipe(
    _ pipe: PortName.Pipe, _ request: RegisterRequest, _ parent: EnginePort
  ) throws(NetmapError) -> PipePair {
    guard parent.pipes.count < EngineLimits.pipesPerPort else {
      throw NetmapError(
        .invalidArgument, "open", request.name.rawValue,
        reason: "\(parent.name.rawValue) has \(EngineLimits.pipesPerPort) pipes already",
        remedy: "close some pipes, or use another parent port")
    }
    let hints = request.hints
    func slots(_ hint: UInt32, _ inherited: Int) -> Int {
      EngineLimits.bound(Int(hint), default: inherited, in: EngineLimits.pipeSlots)
    }
    func rings(_ hint: UInt16) -> Int {
      EngineLimits.bound(Int(hint), default: 1, in: EngineLimits.pipeRings)
    }
    // The request describes the master, whichever end is opened first.
    let geometry = PortGeometry(
      transmitRings: rings(hints.transmitRings), receiveRings: rings(hints.receiveRings),
      transmitSlots: slots(hints.transmitSlots, parent.geometry.transmitSlots),
      receiveSlots: slots(hints.receiveSlots, parent.geometry.receiveSlots))
    let masterName = try parent.name.appendingPipe(.master, id: pipe.id)
    let slaveName = try parent.name.appendingPipe(.slave, id: pipe.id)
    let region = parent.region
    let segment = try SyncSegment(
      creating: "netmap-pipe-\(masterName.rawValue)", ends: [geometry, geometry.mirrored],
      region: region.layout)
    let bindingSlots = BindingSlots()
    let master = EnginePort(
      name: masterName, kind: .pipeEnd, geometry: geometry, segment: segment, end: 0,
      region: region, bindingSlots: bindingSlots)
    let slave = EnginePort(
      name: slaveName, kind: .pipeEnd, geometry: geometry.mirrored, segment: segment, end: 1,
      region: region, bindingSlots: bindingSlots)
    let pair = PipePair(parent: parent, id: pipe.idBytes, master: master, slave: slave)
    parent.pipes[pipe.idBytes] = pair
    return pair
  }

  /// Removes a port that has no bindings and no pipes, with the pipe, parent, switch and region that existed only
  /// for it.
  func dropIfUnused(_ port: EnginePort) {
    guard port.isIdle, !port.isPersistent else { return }
    if let pair = unsafe port.pair {
      guard pair.master.isIdle, pair.slave.isIdle else { return }
      pair.parent.pipes[pair.id] = nil
      dropIfUnused(pair.parent)
      dropIfUnused(port.region)
      return
    }
    if let monitor = port.monitor {
      dropIfUnused(port.region)
      dropIfUnused(monitor.parent)
      return
    }
    if ports[port.key] === port { ports[port.key] = nil }
    if let member = port.membership {
      member.vale.remove(member)
      dropIfUnused(member.vale)
    }
    dropIfUnused(port.region)
  }
}

extension EnginePort {
  fileprivate var isInterface: Bool {
    if case .interface = kind { true } else { false }
  }

  fileprivate var isVirtual: Bool {
    if case .virtual = kind { true } else { false }
  }
}
