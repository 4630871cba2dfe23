internal import Glibc

extension Engine {
  /// Binds rings of a port: `NETMAP_REQ_REGISTER`.
  ///
  /// Blocks while a resource that the request needs is taken but may become free, for at most the time that the
  /// refusal gives (``NetmapError/patience``), and, for a monitor, until syncs of the monitored rings that are under way
  /// have ended, but at most about 100 ms. The engine answers other requests meanwhile.
  ///
  /// - Throws: ``NetmapError`` with the `errno` that netmap(4) documents for the refusal. The engine has then
  ///   removed whatever the attempt created.
  package func register(_ request: RegisterRequest) throws(NetmapError) -> Registration {
    let registration = try retrying { () throws(NetmapError) in try attempt(request) }
    if registration.monitored != nil {
      for _ in 0..<10 where !settleMonitors() { usleep(10_000) }
    }
    return registration
  }

  /// Binds rings of a port as ``register(_:)`` does, but makes one attempt only.
  ///
  /// A refusal may say that another attempt is worthwhile (``NetmapError/patience``).
  package func attempt(_ request: RegisterRequest) throws(NetmapError) -> Registration {
    try exclusively { (state) throws(NetmapError) in
      do throws(NetmapError) {
        guard let memory = request.memory else { return try state.register(request) }
        let region = try state.region(in: memory)
        var inRegion = request
        inRegion.memoryID = region.id
        do throws(NetmapError) {
          return try state.register(inRegion)
        } catch {
          state.dropIfUnused(region)
          throw error
        }
      } catch {
        throw error.about(request.name.rawValue)
      }
    }
  }

  /// Ends a binding: `close` of the descriptor. Ending it twice does nothing.
  ///
  /// Never waits for a peer. Packets already sent stay where the peer finds them.
  ///
  /// - Parameters:
  ///   - id: The binding.
  ///   - keepsViews: Whether a process may still write to the binding's rings through its views. If so, the engine
  ///     does not reuse memory that it frees of this port until ``forget(_:)``.
  package func release(_ id: BindingID, keepsViews: Bool = false) {
    try? exclusively { (state) throws(NetmapError) in
      state.release(id, keepsViews: keepsViews)
    }
  }

  /// Lets the engine reuse the memory that a released binding has kept back: no process can reach its rings any
  /// more.
  package func forget(_ id: BindingID) {
    try? exclusively { (state) throws(NetmapError) in
      guard let kept = state.quarantined.removeValue(forKey: id) else { return }
      kept.region.endQuarantine(of: ObjectIdentifier(kept.segment.memory), begun: kept.begun)
    }
  }
}

extension EngineState {
  fileprivate func register(_ request: RegisterRequest) throws(NetmapError) -> Registration {
    let port = try findPort(request)
    try port.checkFree()
    do throws(NetmapError) {
      return try bind(port, request)
    } catch {
      dropIfUnused(port)
      throw error
    }
  }

  func release(_ id: BindingID, keepsViews: Bool) {
    guard let binding = bindings.removeValue(forKey: id) else { return }
    let (region, segment) = (binding.port.region, binding.port.segment)
    let port = ObjectIdentifier(segment.memory)
    finishExchanges(of: binding)
    if keepsViews {
      quarantined[id] = (region, segment, begun: region.beginQuarantine(of: port))
    }
    quarantining(binding.port) { region.free(of: port) { unbind(binding) } }
  }

  /// Binds the rings that the request selects, in netmap's order of checks (`netmap_do_regif`).
  func bind(
    _ port: EnginePort, _ request: RegisterRequest
  ) throws(NetmapError) -> Registration {
    try checkHeader(port, request.flags)
    let ranges = try RingRanges(
      request.selection, flags: request.flags, of: port.geometry, named: port.name.rawValue)
    try checkBackpressure(port, request.extensions)
    let isExclusive = request.flags.contains(.exclusive)
    try checkUsers(port, ranges, isExclusive)
    try checkLeaving(port)
    let index = try port.bindingSlots.take(for: port.name)
    do throws(NetmapError) {
      try lendRegion(request.memoryID, to: port)
      try checkMemory(port, request)
    } catch {
      port.bindingSlots.release(index)
      throw error
    }
    port.region.retain()
    port.bindings += 1
    forEachRing(ranges) { port[$0, $1].users += 1 }
    for pair in port.pairs(ranges) { port.pairUsers[pair, default: 0] += 1 }
    var undo: (interfaceOffset: Int?, active: ActiveRings, rings: [(Direction, Int)]) = (
      nil, ActiveRings(), []
    )
    do throws(NetmapError) {
      try port.createRings(ranges, made: &undo.rings)
      var offsetMax: UInt64?
      if let offsets = request.offsets { offsetMax = try port.apply(offsets, to: ranges) }
      let interface = try makeInterface(port, ranges)
      undo.interfaceOffset = interface.offset
      try activate(port, ranges, &undo.active)
      let extra = port.region.makeExtraBuffers(max(0, request.extraBuffers))
      interface.extraBuffersHead = extra.head
      // The last step that can fail.
      if let monitor = port.monitor { try attach(monitor, port, ranges.receive) }
      if !undo.rings.isEmpty { refreshMonitors(of: port) }
      if isExclusive { forEachRing(ranges) { port[$0, $1].isExclusive = true } }
      let record = BindingRecord(
        end: port.end, interfaceOffset: interface.offset, ranges: ranges,
        flags: request.flags.intersection(.known), extensions: request.extensions,
        memoryID: port.region.id)
      port.segment.store(record, at: index)
      let id = newBindingID()
      bindings[id] = Binding(
        port: port, index: index, record: record, isExclusive: isExclusive)
      if record.asksForBackpressure {
        port.holdingBindings += 1
        port.publishSwitchState()
      }
      directory.publish(port)
      var registration = Registration(
        id: id, name: port.name, bindingIndex: index, interfaceOffset: interface.offset,
        memorySize: port.region.layout.shownByteCount, memoryID: port.region.id,
        geometry: port.geometry, extraBuffers: extra.count, offsetMax: offsetMax,
        region: port.region.memory, segment: port.segment,
        backend: port.backendDescription)
      registration.defaults = tunables.syncDefaults
      registration.place = port.membership?.place
      registration.monitors = port.monitors.serial
      registration.monitored = port.monitor?.parent.monitors.serial
      return registration
    } catch {
      // The backend first: it holds buffers of the rings.
      deactivate(port, undo.active)
      if let offset = undo.interfaceOffset { port.region.releaseInterface(at: offset) }
      port.releaseRings(undo.rings)
      letGo(port, ranges, index: index)
      throw error
    }
  }

  private func checkUsers(
    _ port: EnginePort, _ ranges: RingRanges, _ isExclusive: Bool
  ) throws(NetmapError) {
    for direction in Direction.allCases {
      for index in ranges[direction] {
        let ring = port[direction, index]
        guard ring.isExclusive || (isExclusive && ring.users > 0) else { continue }
        throw NetmapError(
          .busy, "open", port.name.rawValue,
          reason: "\(direction) ring \(index) is in "
            + (ring.isExclusive ? "exclusive use" : "use, and this request asks for exclusive use"),
          remedy: ring.isExclusive
            ? "close the port that was opened with '/x'" : "open it without '/x'")
      }
    }
  }

  /// Moves an interface without bindings into the region that the request names, until it is idle again.
  private func lendRegion(_ id: UInt16, to port: EnginePort) throws(NetmapError) {
    guard case .interface = port.kind, id != 0, port.isIdle, port.region.id != id else { return }
    let lent = try region(id, for: port.name.rawValue)
    port.ownRegion = port.region
    port.move(to: lent)
  }

  /// Refuses a program's memory for a port that lies elsewhere: the program would look for its rings in the wrong place.
  private func checkMemory(
    _ port: EnginePort, _ request: RegisterRequest
  ) throws(NetmapError) {
    guard request.memory != nil, port.region.id != request.memoryID else { return }
    var error = NetmapError(
      .busy, "open", port.name.rawValue,
      reason: port.monitor == nil
        ? "its rings are in memory region \(port.region.id) already"
        : "a monitor has a memory region of its own",
      remedy: "open it without memory of the program, or close the other ports in that region first"
    )
    // A process that was killed while it opened the port may still be on its way to be noticed.
    if port.monitor == nil { error.patience = 500_000_000 }
    throw error
  }

  private func makeInterface(
    _ port: EnginePort, _ ranges: RingRanges
  ) throws(NetmapError) -> InterfaceObject {
    let offset = try port.region.allocateInterface(
      ringCount: InterfaceObject.ringCount(port.geometry))
    let object = InterfaceObject(memory: port.region.memory, offset: offset)
    object.write(
      name: port.name.bytes, geometry: port.geometry, isPrivate: port.region.isPrivate
    ) { direction, index in
      ranges[direction].contains(index) ? port[direction, index].offset : nil
    }
    return object
  }

  private func activate(
    _ port: EnginePort, _ ranges: RingRanges, _ active: inout ActiveRings
  ) throws(NetmapError) {
    guard case .interface(let backend) = port.kind else { return }
    let placement = unsafe PortPlacement(
      region: port.region, segment: port.segment, geometry: port.geometry,
      receives: !ranges.receive.isEmpty, holdsHostRings: ranges.holdHostRings(of: port.geometry))
    let wanted = port.onlyUsed(by: ranges)
    for pair in wanted.pairs {
      unsafe try backend.activate(pair: pair, of: placement)
      active.pairs.append(pair)
    }
    for (direction, index) in wanted.rings {
      unsafe try backend.start(port.ringPlacement(direction, index))
      active.rings.append((direction, index))
    }
  }

  private func deactivate(_ port: EnginePort, _ active: ActiveRings) {
    guard case .interface(let backend) = port.kind else { return }
    for (direction, index) in active.rings {
      unsafe backend.stop(port.ringPlacement(direction, index))
    }
    for pair in active.pairs { backend.deactivate(pair: pair) }
  }

  func unbind(_ binding: Binding) {
    let port = binding.port
    let object = InterfaceObject(
      memory: port.region.memory, offset: binding.record.interfaceOffset)
    let head = object.extraBuffersHead
    if binding.isControlled {
      forEachRing(binding.record.ranges) { port.showCursors($0, $1) }
    }
    if binding.isExclusive {
      forEachRing(binding.record.ranges) { port[$0, $1].isExclusive = false }
    }
    port.segment.clearBinding(at: binding.index)
    // First: no process may find the monitor's rings when they are freed.
    if let monitor = port.monitor { detach(monitor) }
    if binding.record.asksForBackpressure {
      port.holdingBindings -= 1
      port.publishSwitchState()
    }
    let active = port.onlyUsed(by: binding.record.ranges)
    port.region.releaseExtraBuffers(
      head: head, ofInterfaceAt: binding.record.interfaceOffset)
    // After the list, whose walk ends at a buffer that is free already: a killed process may leave a buffer in both.
    port.region.releaseKeptBuffers(ofInterfaceAt: binding.record.interfaceOffset)
    port.region.releaseInterface(at: binding.record.interfaceOffset)
    deactivate(port, active)
    letGo(port, binding.record.ranges, index: binding.index)
    if port.bindings == 0 { stopMonitors(of: port) }
    directory.publish(port)
    dropIfUnused(port)
  }

  /// Undoes the counting of ``bind(_:_:)``, and frees the rings and the region that are no longer used.
  private func letGo(_ port: EnginePort, _ ranges: RingRanges, index: Int) {
    forEachRing(ranges) { port[$0, $1].users -= 1 }
    for pair in port.pairs(ranges) { port.pairUsers[pair, default: 0] -= 1 }
    port.bindings -= 1
    freeOrHold(port.takeUnusedRings(), of: port)
    port.bindingSlots.release(index)
    let region = port.region
    if port.bindings == 0, let own = port.ownRegion {
      port.move(to: own)
      port.ownRegion = nil
    }
    region.release()
    dropIfUnused(region)
  }

  private func forEachRing(_ ranges: RingRanges, _ body: (Direction, Int) -> Void) {
    for direction in Direction.allCases {
      for index in ranges[direction] { body(direction, index) }
    }
  }
}

extension EnginePort {
  var backendDescription: BackendDescription? {
    if case .interface(let backend) = kind { backend.backendDescription } else { nil }
  }

  /// The ring pairs that have a ring in `ranges`, in ascending order.
  fileprivate func pairs(_ ranges: RingRanges) -> [Int] {
    var result = Set(ranges.transmit.map { geometry.pair(.transmit, $0) })
    result.formUnion(ranges.receive.map { geometry.pair(.receive, $0) })
    return result.sorted()
  }

  /// The rings of `ranges`, and their pairs, that no binding but the caller's holds. That binding must be counted
  /// already.
  fileprivate func onlyUsed(by ranges: RingRanges) -> ActiveRings {
    var result = ActiveRings()
    for direction in Direction.allCases {
      for index in ranges[direction] where self[direction, index].users == 1 {
        result.rings.append((direction, index))
      }
    }
    result.pairs = pairs(ranges).filter { pairUsers[$0] == 1 }
    return result
  }

  /// The placement of a ring, which must exist, for a backend.
  func ringPlacement(_ direction: Direction, _ index: Int) -> RingPlacement {
    guard let offset = self[direction, index].offset else {
      preconditionFailure("\(direction) ring \(index) has not been made")
    }
    return unsafe RingPlacement(
      index: geometry.pair(direction, index), direction: direction,
      ring: region.ring(at: offset, slotCount: geometry.slots(direction)),
      kring: kring(direction, index), ownership: region.ownership)
  }
}

/// Pairs and rings that only one binding holds.
private struct ActiveRings {
  var pairs: [Int] = []
  var rings: [(Direction, Int)] = []
}
