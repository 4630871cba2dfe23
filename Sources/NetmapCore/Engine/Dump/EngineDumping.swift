internal import Glibc

extension Engine {
  /// Copies the engine's records, and the shared memory that describes its rings.
  ///
  /// Only memory at rest is copied exactly. A ring that a process syncs meanwhile is marked, as in ``check()``: the copy
  /// of it may mix two states. The copy changes nothing, waits for no sync, and contains no packets.
  ///
  /// Any thread may call it. Other requests wait until it ends: some milliseconds for a large region.
  ///
  /// - Throws: ``NetmapError`` when the engine is ending.
  package func dump() throws(NetmapError) -> EngineDump {
    try exclusively { (state) throws(NetmapError) in
      var copy = EngineCopy(state)
      return copy.run()
    }
  }
}

/// One copy of the whole state of an engine. The caller holds the engine's lock.
private struct EngineCopy {
  private let state: EngineState
  private let ports: [EnginePort]
  private let regions: [Region]
  private var dump = EngineDump()
  private var segments: [ObjectIdentifier: UInt32] = [:]

  init(_ state: EngineState) {
    self.state = state
    ports = state.allPorts
    regions = state.allRegions(of: ports)
  }

  mutating func run() -> EngineDump {
    let rings = CheckedRing.all(of: ports)
    let before = rings.map(\.motion)
    dump.seconds = UInt64(clamping: time(nil))
    (dump.clients, dump.lastEpoch) = state.directory.dumpedClients
    dump.regions = regions.map(copy)
    for port in ports { dump.ports.append(copy(port)) }
    dump.bindings = state.bindings.sorted { $0.key.number < $1.key.number }.compactMap {
      (id, binding) in
      number(of: binding.port).map {
        EngineDump.BindingPart(
          id: id.number, port: $0, index: UInt32(clamping: binding.index), record: binding.record,
          isExclusive: binding.isExclusive)
      }
    }
    for vale in state.switches.values.sorted(by: { $0.number < $1.number }) { add(vale) }
    for (ring, motion) in zip(rings, before) where ring.motion != motion { mark(ring) }
    return dump
  }

  private func number(of port: EnginePort) -> UInt32? {
    ports.firstIndex { $0 === port }.map { UInt32(clamping: $0) }
  }

  // MARK: - Regions

  private func copy(_ region: Region) -> EngineDump.RegionPart {
    func numbers(_ list: some Sequence<Int>) -> [UInt32] { list.map { UInt32(clamping: $0) } }
    let kept = region.quarantined
    let layout = region.layout
    var part = EngineDump.RegionPart(
      id: region.id, isPrivate: region.isPrivate, isExact: layout.isExact, isUsed: region.isUsed,
      parameters: RegionParameters(
        interfaceSize: layout.interfaces.size, interfaceCount: layout.interfaces.count,
        ringSize: layout.rings.size, ringCount: layout.rings.count,
        bufferSize: layout.buffers.size, bufferCount: layout.buffers.count),
      taken: EngineDump.Objects(
        interfaces: numbers(region.takenInterfaces), rings: numbers(region.takenRings),
        buffers: numbers(region.takenBuffers)),
      quarantined: EngineDump.Objects(
        interfaces: numbers(kept.interfaces), rings: numbers(kept.rings),
        buffers: numbers(kept.buffers)),
      owners: region.ownership.states, pieces: [], links: [])
    func add(_ offset: Int, _ count: Int) {
      part.pieces.append(
        EngineDump.Piece(
          offset: UInt64(clamping: offset), bytes: region.memory.bytes(at: offset, count: count)))
    }
    for port in ports where port.region === region {
      for direction in Direction.allCases {
        for index in 0..<port.geometry.rings(direction) {
          guard let offset = port[direction, index].offset else { continue }
          add(offset, EngineDump.ringByteCount(slots: port.geometry.slots(direction)))
        }
      }
    }
    // Clients write the lists and tables, so each buffer is copied once, and no more pages than the region needs.
    var seen: Set<UInt32> = []
    var pages: Set<UInt32> = []
    let pagesMax =
      unsafe layout.buffers.count / max(KeptTable.entryCount(bufferSize: layout.buffers.size), 1)
      + 1
    for binding in state.bindings.values where binding.port.region === region {
      let offset = binding.record.interfaceOffset
      add(offset, layout.interfaces.size)
      let object = InterfaceObject(memory: region.memory, offset: offset)
      var index = object.extraBuffersHead
      while layout.slotRule.mayGive(index), seen.insert(index).inserted {
        let next = region.nextBuffer(after: index)
        part.links += [index, next]
        index = next
      }
      region.forEachKeptPage(ofInterfaceAt: offset) {
        if pages.count < pagesMax { pages.insert($0) }
      }
    }
    for page in pages.sorted() { add(region.offset(ofBuffer: page), layout.buffers.size) }
    return part
  }

  // MARK: - Ports

  private mutating func copy(_ port: EnginePort) -> EngineDump.PortPart {
    let pair = unsafe port.pair
    let rings = [Direction.transmit, .receive].flatMap { direction in
      (0..<port.geometry.rings(direction)).map { index in
        port[direction, index].offset.map { UInt64(clamping: $0) } ?? EngineDump.noRing
      }
    }
    let slave = pair.flatMap { $0.master === port ? number(of: $0.slave) : nil }
    return EngineDump.PortPart(
      name: port.name.bytes, kind: port.ringKind.rawValue, segment: add(port.segment),
      end: UInt32(clamping: port.end),
      region: UInt32(clamping: regions.firstIndex { $0 === port.region } ?? 0),
      geometry: port.geometry, rings: rings, moving: rings.map { _ in 0 },
      bindings: UInt32(clamping: port.bindings), slave: slave ?? EngineDump.none,
      parent: pair.flatMap { number(of: $0.parent) } ?? EngineDump.none,
      isPersistent: port.isPersistent, attachedAs: port.attachedAs?.bytes ?? [])
  }

  /// Copies a segment, unless the dump has it already.
  private mutating func add(_ segment: SyncSegment) -> UInt32 {
    let key = ObjectIdentifier(segment.memory)
    if let known = segments[key] { return known }
    let number = UInt32(clamping: dump.segments.count)
    dump.segments.append(
      EngineDump.SegmentPart(
        ends: segment.endNumbers, leaseSlots: UInt32(clamping: segment.leaseSlots),
        bytes: segment.memory.bytes(at: 0, count: segment.memory.byteCount)))
    segments[key] = number
    return number
  }

  private mutating func mark(_ ring: CheckedRing) {
    guard let number = number(of: ring.port) else { return }
    let first = ring.direction == .transmit ? 0 : ring.port.geometry.rings(.transmit)
    dump.ports[Int(number)].moving[first + ring.index] = 1
  }

  // MARK: - Switches

  private mutating func add(_ vale: EngineSwitch) {
    var part = EngineDump.SwitchPart(
      name: Array(vale.name.utf8), number: UInt32(clamping: vale.number), serial: vale.serial,
      members: [], leaving: [], bytes: vale.segment.dumpedBytes)
    for member in vale.members.values.sorted(by: { $0.index < $1.index }) {
      guard let port = number(of: member.port) else { continue }
      part.members.append(
        EngineDump.Member(
          port: port, name: member.name.bytes, index: UInt32(clamping: member.index),
          generation: member.generation, isHidden: member.isHidden))
    }
    for quarantine in state.leaving where quarantine.vale === vale {
      part.leaving.append(add(quarantine.port.segment))
    }
    dump.switches.append(part)
  }
}

extension EngineDump {
  /// The bytes of a ring object that a ring of `slots` slots uses.
  static func ringByteCount(slots: Int) -> Int { 256 + 16 * slots }
}
