internal import CLinux
internal import Synchronization

// Monitors without copies: their receive rings lie in the region of the monitored port, and syncs of its rings exchange
// buffers with them (``MonitorExchange``).
//
// The first such monitor of a pair of rings exchanges with the port's rings, the second one with the first one's ring, and
// so on, in the order in which they were opened.

/// The rings that may be exchanged with a ring of a monitor: their places in the region, and nil for none.
struct MonitorSources: Equatable {
  var transmit: Int?
  var receive: Int?

  subscript(direction: Direction) -> Int? { direction == .transmit ? transmit : receive }
}

/// Those who exchange buffers with one receive ring of a monitor.
@safe
struct MonitorFilling {
  let monitor: EngineMonitor
  /// The ring's number.
  let ring: Int
  /// Their kring, with their lock and ``MonitorNote``.
  let kring: KRing
  let segment: SyncSegment
  let region: Region
  /// The place of the monitor's ring in the region, and its slots.
  let offset: Int
  let slots: Int

  /// Finishes the exchange of a client that has died, if it held the lock, so that each buffer is in one slot and the
  /// exchanged packets are the monitor's.
  func finish(after tag: ClientTag, in state: EngineState) {
    guard unsafe kring.lockHolder == tag.rawValue else { return }
    let note = unsafe kring.monitorNote
    guard let batch = unsafe note.batch else { return }
    defer { unsafe note.end() }
    // If the end of the filled slots has moved, the whole batch was exchanged and has been shown.
    guard unsafe kring.acquirePosition() == batch.second,
      let place = monitor.sources[ring]?[batch.direction],
      let source = unsafe region.namedRing(at: place)
    else { return }
    let target = unsafe region.ring(at: offset, slotCount: slots)
    let done = unsafe note.finish(batch, from: source, to: target)
    guard done > 0 else { return }
    for (port, direction, index) in state.rings(sharingMonitorsWith: monitor.parent)
    where port[direction, index].offset == place {
      unsafe port.kring(direction, index).store(
        exchangedEnd: source.index(batch.first, advancedBy: Int(done)))
    }
    unsafe kring.release(position: target.index(batch.second, advancedBy: Int(done)))
  }
}

extension PortMonitors {
  /// The monitors that exchange buffers, the oldest first.
  var exchanging: [EngineMonitor] {
    members.values.filter(\.exchanges).sorted { $0.age < $1.age }
  }

  /// Those of them that get the packets of a pair of rings of a port, each from the one before it.
  private func chain(of parent: EnginePort, _ pair: Int) -> [EngineMonitor] {
    exchanging.filter { $0.parent === parent && $0.rings.contains(pair) }
  }

  /// The monitor that syncs of a ring exchange buffers with.
  func exchangingEntry(_ port: EnginePort, _ direction: Direction, _ ring: Int) -> MonitorEntry? {
    let next: EngineMonitor?
    let pair: Int
    if let monitor = port.monitor {
      guard direction == .receive else { return nil }
      pair = ring
      let chain = chain(of: monitor.parent, pair)
      let place = chain.firstIndex { $0 === monitor }
      next = place.flatMap { $0 + 1 < chain.count ? chain[$0 + 1] : nil }
    } else {
      pair = port.geometry.pair(direction, ring)
      next = chain(of: port, pair).first
    }
    return next.map {
      MonitorEntry(
        index: $0.index, generation: $0.generation, ring: pair, isTransmit: direction == .transmit,
        exchanges: true)
    }
  }

  /// The rings that may be exchanged with a monitor's receive ring.
  fileprivate func sources(of monitor: EngineMonitor, _ ring: Int) -> MonitorSources {
    let chain = chain(of: monitor.parent, ring)
    guard let place = chain.firstIndex(where: { $0 === monitor }) else { return MonitorSources() }
    if place > 0 {
      return MonitorSources(transmit: nil, receive: chain[place - 1].port?[.receive, ring].offset)
    }
    let parent = monitor.parent
    func offset(_ direction: Direction) -> Int? {
      (0..<parent.geometry.rings(direction))
        .first { parent.geometry.pair(direction, $0) == ring }
        .flatMap { parent[direction, $0].offset }
    }
    return MonitorSources(transmit: offset(.transmit), receive: offset(.receive))
  }
}

extension EngineState {
  /// The port of a new monitor that exchanges buffers.
  func exchangingMonitorPort(
    _ request: RegisterRequest, _ parent: EnginePort, _ geometry: PortGeometry
  ) throws(NetmapError) -> EnginePort {
    let name = request.name.rawValue
    if let refusal = parent.exchangeRefusal {
      dropIfUnused(parent)
      throw NetmapError(
        .unsupported, "open", name, reason: refusal,
        remedy: "use '/t', '/r' or both instead of '/z'")
    }
    let flags = request.flags.union([.monitorTransmit, .monitorReceive])
    let segment = try SyncSegment(
      creating: "netmap-monitor-\(name)", ends: [geometry, Self.fillingEnd(of: geometry)],
      region: parent.region.layout, hasLeases: true)
    return EnginePort(
      name: Self.monitorName(parent.name, flags, number: parent.monitors.newNumber()),
      kind: .monitor(EngineMonitor(of: parent, flags)), geometry: geometry, segment: segment,
      end: 0, region: parent.region, bindingSlots: BindingSlots())
  }

  /// Names, in the krings of those who fill the rings of monitors, the rings that may be exchanged with them.
  ///
  /// - Returns: False where a process was exchanging buffers all the time.
  func settleSources(of set: PortMonitors, _ patience: inout Int) -> Bool {
    var isSettled = true
    for monitor in set.exchanging {
      guard let own = monitor.port else { continue }
      for ring in 0..<own.geometry.rings(.receive) where own[.receive, ring].offset != nil {
        let wanted = set.sources(of: monitor, ring)
        guard wanted != monitor.sources[ring] ?? MonitorSources(),
          let kring = unsafe own.segment.kring(end: 1, .transmit, ring)
        else { continue }
        guard unsafe lock(kring, &patience) else {
          isSettled = false
          continue
        }
        for direction in Direction.allCases {
          let base = own.region.layout.bufferBase
          unsafe kring.monitorNote.store(
            distance: wanted[direction].map { UInt64(base - $0) }, direction)
        }
        monitor.sources[ring] = wanted
        unsafe kring.unlock()
      }
    }
    return isSettled
  }

  private func lock(_ kring: KRing, _ patience: inout Int) -> Bool {
    while unsafe !kring.tryLockByEngine() {
      guard patience > 0 else { return false }
      patience -= 1
      clinux_pause()
    }
    return true
  }

  // MARK: - Rings that go

  /// Frees rings that a port had. Those with which a process is exchanging buffers with a monitor are freed when it has
  /// finished or has died.
  func freeOrHold(_ removed: [RemovedRing], of port: EnginePort) {
    guard !removed.isEmpty else { return }
    if !port.monitors.exchanging.isEmpty { refreshMonitors(of: port) }
    var patience = 2000
    for ring in removed {
      if mayFree(ring, &patience) {
        ring.free()
      } else {
        ring.region.heldRings.append(ring)
        ring.region.retain()
      }
    }
  }

  /// Whether no process can be exchanging buffers with a ring, from now on.
  private func mayFree(_ removed: RemovedRing, _ patience: inout Int) -> Bool {
    if let own = removed.filling, own.monitor.sources[own.ring] != nil {
      guard unsafe lock(own.kring, &patience) else { return false }
      // The lock stays taken.
      own.monitor.sources[own.ring] = nil
    }
    return !fillings.contains { filling in
      let sources = filling.monitor.sources[filling.ring]
      return filling.region === removed.region
        && Direction.allCases.contains { direction in
          sources?[direction].map { removed.offsets.contains($0) } ?? false
        }
    }
  }

  /// Frees the held rings that no process is exchanging buffers with any more.
  func settleHeldRings() {
    for region in regions.values where !region.heldRings.isEmpty {
      // A monitor's ring that is freed may have been all that held a ring of its port.
      while let place = region.heldRings.firstIndex(where: {
        var patience = 0
        return mayFree($0, &patience)
      }) {
        let ring = region.heldRings.remove(at: place)
        region.free(of: ring.port) { ring.free() }
        region.release()
      }
      dropIfUnused(region)
    }
  }

  /// Whether there are rings that a process may still be exchanging buffers with.
  var holdsRings: Bool { regions.values.contains { !$0.heldRings.isEmpty } }

  /// Those who exchange buffers with rings of monitors that have been closed.
  var heldFillings: [MonitorFilling] {
    regions.values.flatMap { $0.heldRings.compactMap(\.filling) }
  }

  /// Those who exchange buffers with rings of monitors.
  var fillings: [MonitorFilling] {
    var result = heldFillings
    for binding in bindings.values {
      let port = binding.port
      guard let monitor = port.monitor, monitor.exchanges else { continue }
      for ring in 0..<port.geometry.rings(.receive) {
        guard let offset = port[.receive, ring].offset,
          let kring = unsafe port.segment.kring(end: 1, .transmit, ring)
        else { continue }
        unsafe result.append(
          MonitorFilling(
            monitor: monitor, ring: ring, kring: kring, segment: port.segment,
            region: port.region, offset: offset, slots: port.geometry.receiveSlots))
      }
    }
    return result
  }
}

extension EnginePort {
  /// Why syncs of the port exchange no buffers with monitors; nil where they do.
  fileprivate var exchangeRefusal: String? {
    switch kind {
    case .pipeEnd: nil
    case .interface, .vale:
      attachedAs == nil
        ? nil : "the memory of an interface on a switch has no buffers for a monitor without copies"
    case .virtual, .null, .monitor: "no packets pass through the port"
    }
  }
}
