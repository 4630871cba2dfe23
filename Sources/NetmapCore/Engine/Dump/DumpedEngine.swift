/// The state of an engine, rebuilt from a dump in private memory.
///
/// The dump may be any bytes: each number is checked before it is used as an offset, an index or a count.
@safe
package final class DumpedEngine {
  package let dump: EngineDump
  let state: EngineState
  let ports: [EnginePort]
  let regions: [Region]
  let segments: [SyncSegment]
  private let pairs: [PipePair]
  private let checked: CheckedDump

  /// The most parts of each kind in a dump, and the most work for the check of one: what a daemon's quotas allow, with
  /// room to spare.
  private static let partsMax = 16_384
  private static let piecesMax = 262_144
  private static let workMax = 1 << 32

  /// - Parameter dump: The dump.
  /// - Throws: ``NetmapError`` `EINVAL` when the dump contradicts itself, `ENOMEM` when there is no room for its memory.
  package init(_ dump: EngineDump) throws(NetmapError) {
    self.dump = dump
    for count in [
      dump.regions.count, dump.segments.count, dump.ports.count, dump.bindings.count,
      dump.owners.count, dump.processes.count,
    ] where count > Self.partsMax {
      throw Self.refused("it has too many parts")
    }
    guard dump.switches.count <= 256,
      dump.regions.reduce(0, { $0 + $1.pieces.count }) <= Self.piecesMax
    else { throw Self.refused("it has too many parts") }
    let directory = try Directory(clients: dump.clients, lastEpoch: dump.lastEpoch)
    state = EngineState(
      interfaces: nil, directory: directory, tunables: Tunables(), regionNumbers: RegionNumbers())
    regions = try Self.regions(dump)
    let segments = try Self.segments(dump)
    self.segments = segments
    let ports = try Self.ports(dump, regions, segments)
    self.ports = ports
    pairs = try Self.pairs(dump, ports)
    try Self.addBindings(dump, ports, to: state)
    var leaving: [ObjectIdentifier: [SyncSegment]] = [:]
    for part in dump.switches {
      let vale = try Self.makeSwitch(part, ports, directory)
      guard state.switches.updateValue(vale, forKey: vale.name) == nil else {
        throw Self.refused("two switches have one name")
      }
      leaving[ObjectIdentifier(vale)] = try part.leaving.map { (index) throws(NetmapError) in
        try Self.element(segments, index)
      }
    }
    var moving: Set<RingKey> = []
    for (port, part) in zip(ports, dump.ports) {
      for (place, mark) in part.moving.enumerated() where mark != 0 {
        let (direction, index) = Self.ring(place, of: port)
        moving.insert(RingKey(port, direction, index))
      }
    }
    var links: [ObjectIdentifier: [UInt32: UInt32]] = [:]
    for (region, part) in zip(regions, dump.regions) {
      var list: [UInt32: UInt32] = [:]
      for place in stride(from: 0, to: part.links.count - 1, by: 2) {
        list[part.links[place]] = part.links[place + 1]
      }
      links[ObjectIdentifier(region)] = list
    }
    checked = CheckedDump(
      ports: ports, regions: regions, moving: moving, leaving: leaving, links: links)
  }

  /// Checks the dump as ``Engine/check()`` checks a living engine.
  ///
  /// - Returns: Nil for a dump whose check would take too long, which no engine makes.
  package func check() -> CheckReport? {
    var work = 0
    for binding in state.bindings.values {
      work += binding.port.region.layout.buffers.count
    }
    work += ports.count * (state.bindings.count + regions.count)
    guard work <= Self.workMax else { return nil }
    var check = EngineCheck(state, dump: checked)
    return check.run()
  }

  /// Whether a process synced a ring while the dump was made.
  func isMoving(_ port: EnginePort, _ direction: Direction, _ index: Int) -> Bool {
    checked.moving.contains(RingKey(port, direction, index))
  }

  static func refused(_ reason: String) -> NetmapError {
    NetmapError(
      .invalidArgument, "read", "dump", reason: reason,
      remedy: "make another dump: this one is damaged")
  }

  private static func element<T>(_ list: [T], _ index: UInt32) throws(NetmapError) -> T {
    guard index < list.count else { throw refused("it names a part that it does not have") }
    return list[Int(index)]
  }

  /// A ring by its position among the port's rings, transmit rings first.
  static func ring(_ place: Int, of port: EnginePort) -> (Direction, Int) {
    let transmit = port.geometry.rings(.transmit)
    return place < transmit ? (.transmit, place) : (.receive, place - transmit)
  }

  // MARK: - Parts

  private static func regions(_ dump: EngineDump) throws(NetmapError) -> [Region] {
    try dump.regions.map { (part) throws(NetmapError) in
      // The owner bytes bound the number of buffers by the size of the dump.
      guard part.owners.count == part.parameters.bufferCount else {
        throw refused("a region has \(part.owners.count) owner bytes")
      }
      let region: Region
      if part.isExact {
        try part.parameters.validateExact()
        region = try Region(
          id: part.id, isPrivate: true, RegionLayout(exactly: part.parameters), isShared: false)
      } else {
        region = try Region(
          id: part.id, isPrivate: part.isPrivate, part.parameters, isShared: false)
      }
      region.ownership.restore(part.owners)
      region.restore(taken: part.taken, quarantined: part.quarantined, isUsed: part.isUsed)
      for piece in part.pieces {
        guard piece.offset <= UInt64(region.memory.byteCount),
          piece.bytes.count <= region.memory.byteCount - Int(piece.offset)
        else { throw refused("a part of a region lies outside of it") }
        region.memory.write(piece.bytes, at: Int(piece.offset))
      }
      return region
    }
  }

  private static func segments(_ dump: EngineDump) throws(NetmapError) -> [SyncSegment] {
    try dump.segments.map { (part) throws(NetmapError) in
      guard !part.bytes.isEmpty else { throw refused("a sync segment is empty") }
      let memory = try SharedMemory(private: part.bytes.count)
      memory.write(part.bytes, at: 0)
      guard
        let segment = SyncSegment(
          copy: memory, endNumbers: part.ends, leaseSlots: Int(part.leaseSlots))
      else { throw refused("a sync segment is too short for its rings") }
      return segment
    }
  }

  private static func ports(
    _ dump: EngineDump, _ regions: [Region], _ segments: [SyncSegment]
  ) throws(NetmapError) -> [EnginePort] {
    // The two ends of a pipe share one object for the bindings of their segment.
    let slots = segments.map { _ in BindingSlots() }
    return try dump.ports.map { (part) throws(NetmapError) in
      let segment = try element(segments, part.segment)
      let (end, geometry) = (Int(part.end), part.geometry)
      guard end < segment.endCount, geometry.transmitSlots > 0, geometry.receiveSlots > 0,
        Direction.allCases.allSatisfy({
          geometry.rings($0) == segment.ringCount(end: end, $0)
        }), segment.leaseSlots == 0 || segment.leaseSlots >= geometry.receiveSlots,
        let kind = RingKind(rawValue: part.kind)
      else { throw refused("a port and its sync segment do not agree") }
      let port = EnginePort(
        name: try PortName(bytes: part.name), kind: portKind(kind, geometry), geometry: geometry,
        segment: segment, end: end, region: try element(regions, part.region),
        bindingSlots: slots[Int(part.segment)])
      port.bindings = Int(part.bindings)
      port.isPersistent = part.isPersistent
      port.attachedAs = part.attachedAs.isEmpty ? nil : try PortName(bytes: part.attachedAs)
      try addRings(part, to: port)
      return port
    }
  }

  private static func portKind(_ kind: RingKind, _ geometry: PortGeometry) -> EnginePort.Kind {
    switch kind {
    case .null: .null
    case .discard: .virtual
    case .pipe: .pipeEnd
    case .backend: .interface(DumpedInterface(geometry: geometry))
    case .vale: .vale
    // Whose monitor it was, and what it copied, is not in the dump.
    case .monitor: .monitor(nil)
    }
  }

  private static func addRings(
    _ part: EngineDump.PortPart, to port: EnginePort
  ) throws(NetmapError) {
    let count = port.geometry.rings(.transmit) + port.geometry.rings(.receive)
    guard part.rings.count == count, part.moving.count == count else {
      throw refused("a port has \(part.rings.count) rings instead of \(count)")
    }
    let pool = port.region.layout.rings
    for (place, offset) in part.rings.enumerated() where offset != EngineDump.noRing {
      let (direction, index) = ring(place, of: port)
      guard offset >= UInt64(pool.offset), offset < UInt64(pool.offset + pool.byteCount),
        (Int(offset) - pool.offset) % pool.size == 0,
        EngineDump.ringByteCount(slots: port.geometry.slots(direction)) <= pool.size
      else { throw refused("a ring lies outside of its region") }
      port[direction, index].offset = Int(offset)
    }
  }

  private static func pairs(
    _ dump: EngineDump, _ ports: [EnginePort]
  ) throws(NetmapError) -> [PipePair] {
    var pairs: [PipePair] = []
    for (master, part) in zip(ports, dump.ports) where part.slave != EngineDump.none {
      let slave = try element(ports, part.slave)
      guard master !== slave, unsafe master.pair == nil, unsafe slave.pair == nil,
        master.segment.memory === slave.segment.memory, master.end != slave.end,
        master.region === slave.region, master.ringKind == .pipe, slave.ringKind == .pipe,
        master.geometry.mirrored == slave.geometry, master.geometry == slave.geometry.mirrored
      else { throw refused("the ends of a pipe do not match") }
      pairs.append(
        PipePair(
          parent: part.parent < ports.count ? ports[Int(part.parent)] : master,
          id: master.name.pipe?.idBytes ?? [], master: master, slave: slave))
    }
    return pairs
  }

  private static func addBindings(
    _ dump: EngineDump, _ ports: [EnginePort], to state: EngineState
  ) throws(NetmapError) {
    for part in dump.bindings {
      let port = try element(ports, part.port)
      let pool = port.region.layout.interfaces
      let (offset, ranges) = (part.record.interfaceOffset, part.record.ranges)
      guard part.index < EngineLimits.bindingsPerPort, offset >= pool.offset,
        offset < pool.offset + pool.byteCount, (offset - pool.offset) % pool.size == 0,
        Direction.allCases.allSatisfy({ ranges[$0].upperBound <= port.geometry.rings($0) })
      else { throw refused("a binding does not fit its port") }
      state.bindings[BindingID(number: part.id)] = EngineState.Binding(
        port: port, index: Int(part.index), record: part.record, isExclusive: part.isExclusive)
    }
  }

  private static func makeSwitch(
    _ part: EngineDump.SwitchPart, _ ports: [EnginePort], _ directory: Directory
  ) throws(NetmapError) -> EngineSwitch {
    let vale = try EngineSwitch(
      name: PortText.printable(part.name), number: Int(part.number), serial: part.serial, directory)
    vale.segment.restore(part.bytes)
    for member in part.members {
      let port = try element(ports, member.port)
      guard member.index < SwitchLimits.ports, vale.members[Int(member.index)] == nil,
        port.segment.endCount == 1
      else { throw refused("a switch has a port that cannot be there") }
      let made = SwitchMember(
        vale: vale, port: port, name: try PortName(bytes: member.name), index: Int(member.index),
        generation: member.generation, isHidden: member.isHidden)
      vale.restore(made)
      port.memberships.append(made)
    }
    return vale
  }
}

/// Stands for the interface of a port in a dump, which is not there.
private final class DumpedInterface: InterfaceBackend {
  let geometry: PortGeometry
  let backendDescription = BackendDescription(name: "dump", mode: "")

  init(geometry: PortGeometry) {
    self.geometry = geometry
  }

  private var refusal: NetmapError { DumpedEngine.refused("the interface is not there") }

  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) { throw refusal }
  func deactivate(pair index: Int) {}
  func driverSource(for ring: RingPlacement) throws(NetmapError) -> RingDriverSource {
    throw refusal
  }
}
