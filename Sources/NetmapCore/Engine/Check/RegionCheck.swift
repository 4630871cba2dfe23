/// The check of one region: which slot, list or closed port holds each buffer, ring object and
/// `netmap_if`.
struct RegionCheck {
  private let region: Region
  private let ports: [EnginePort]
  private let bindings: [EngineState.Binding]
  private let directory: Directory
  private let dump: CheckedDump?

  /// The number of places that hold each buffer, counted up to 255.
  private var holders: [UInt8]
  private var findings: [String] = []

  /// The largest number of findings about single buffers that a report lists.
  private static let listed = 16

  init(
    _ region: Region, _ ports: [EnginePort], _ bindings: [EngineState.Binding],
    _ directory: Directory, _ dump: CheckedDump?
  ) {
    self.dump = dump
    self.region = region
    self.ports = ports
    self.bindings = bindings
    self.directory = directory
    holders = [UInt8](repeating: 0, count: region.layout.buffers.count)
  }

  /// A place that holds a buffer.
  private enum Place {
    case slot(EnginePort, Direction, ring: Int, slot: Int)
    case list(EnginePort, binding: Int)
    case kept(EnginePort, binding: Int)
    case lent
    case quarantine

    var text: String {
      switch self {
      case .slot(let port, let direction, let ring, let slot):
        "\(port.name.rawValue) \(direction) ring \(ring) slot \(slot)"
      case .list(let port, let binding):
        "\(port.name.rawValue) extra buffers of binding \(binding)"
      case .kept(let port, let binding):
        "\(port.name.rawValue) kept buffers of binding \(binding)"
      case .lent: "the set of lent buffers"
      case .quarantine: "the quarantine of closed ports"
      }
    }
  }

  /// Walks the region, and adds what it finds to `report`.
  mutating func run(_ report: inout CheckReport) {
    let rings = CheckedRing.all(of: ports)
    let before = rings.map(\.motion)
    var quiet: [CheckedRing] = []
    let controlled = Set(bindings.lazy.filter(\.isControlled).flatMap(\.rings))
    walk(rings) { index, _ in
      if index < holders.count, holders[Int(index)] < .max { holders[Int(index)] += 1 }
    }
    for (ring, motion) in zip(rings, before) {
      let moved =
        dump?.moving.contains(RingKey(ring.port, ring.direction, ring.index)) ?? false
      if moved || ring.isMoving(since: motion, directory) {
        report.moving.append("\(ring.port.name.rawValue) \(ring.direction) ring \(ring.index)")
      } else {
        quiet.append(ring)
        findings += ring.findings(directory, controlled)
      }
    }
    if quiet.count < rings.count {
      // Some rings moved meanwhile, so the counts are worthless. Count again, only the rings at
      // rest.
      for index in holders.indices { holders[index] = 0 }
      walk(quiet) { index, _ in
        if index < holders.count, holders[Int(index)] < .max { holders[Int(index)] += 1 }
      }
    }
    judgeBuffers(quiet, knowsAll: quiet.count == rings.count, &report)
    judgeObjects()
    report.findings += findings
  }

  // MARK: - Buffers

  /// Visits every place that holds a buffer.
  private func walk(_ rings: [CheckedRing], _ body: (UInt32, Place) -> Void) {
    for ring in rings {
      ring.forEachSlot { offset, slot in
        let index = region.slot(slot, ofRingAt: offset).bufferIndex
        // The owner bytes say which buffers a backend has lent. They are visited below, whatever
        // the slots name.
        if ring.isBackends, region.ownership.state(index).isLent { return }
        body(index, .slot(ring.port, ring.direction, ring: ring.index, slot: slot))
      }
    }
    for index in region.takenBuffers where region.ownership.state(UInt32(index)).isLent {
      body(UInt32(index), .lent)
    }
    for index in region.quarantined.buffers { body(UInt32(index), .quarantine) }
    for binding in bindings {
      let object = InterfaceObject(
        memory: region.memory, offset: binding.record.interfaceOffset)
      var index = object.extraBuffersHead
      var left = region.layout.buffers.count
      while region.layout.slotRule.mayGive(index), left > 0 {
        body(index, .list(binding.port, binding: binding.index))
        // A dump has the links of the lists beside the copy of the region.
        index =
          if let dump {
            dump.links[ObjectIdentifier(region)]?[index] ?? 0
          } else {
            region.nextBuffer(after: index)
          }
        left -= 1
      }
      region.forEachKept(ofInterfaceAt: binding.record.interfaceOffset) {
        body($0, .kept(binding.port, binding: binding.index))
      }
    }
  }

  private mutating func judgeBuffers(
    _ rings: [CheckedRing], knowsAll: Bool, _ report: inout CheckReport
  ) {
    let taken = region.takenBuffers
    report.buffers += taken.count
    var wrong: [String] = []
    var doubtful: Set<UInt32> = []
    // A region without bindings resets its pools, so a buffer that an application has lost is no
    // fault there.
    let mustBeSomewhere = knowsAll && region.isUsed
    for index in taken {
      switch holders[index] {
      case 0:
        if mustBeSomewhere { wrong.append("buffer \(index) is in no slot or list") }
      case 1: break
      default: doubtful.insert(UInt32(index))
      }
    }
    walk(rings) { index, place in
      if !region.isBufferInUse(index) || index < Region.reservedBuffers {
        let what =
          index < Region.reservedBuffers
          ? "reserved" : index < region.layout.buffers.count ? "free" : "not in the region"
        wrong.append("\(place.text) has buffer \(index), which is \(what)")
      } else if case .quarantine = place {
      } else if region.ownership.state(index) == .free {
        wrong.append("\(place.text) has buffer \(index), whose owner byte says that it is free")
      }
    }
    if !doubtful.isEmpty {
      var places: [UInt32: [String]] = [:]
      walk(rings) { index, place in
        if doubtful.contains(index) { places[index, default: []].append(place.text) }
      }
      for index in doubtful.sorted() {
        wrong.append(
          "buffer \(index) is in \((places[index] ?? []).prefix(4).joined(separator: ", and in "))")
      }
    }
    findings += wrong.prefix(Self.listed).map { "memory \(region.id): \($0)" }
    if wrong.count > Self.listed {
      findings.append("memory \(region.id): \(wrong.count) findings about buffers in all")
    }
  }

  // MARK: - Ring objects and netmap_if

  private mutating func judgeObjects() {
    var rings = region.quarantined.rings
    for port in ports {
      for direction in Direction.allCases {
        for index in 0..<port.geometry.rings(direction) {
          if let offset = port[direction, index].offset {
            rings.append((offset - region.layout.rings.offset) / region.layout.rings.size)
          }
        }
      }
    }
    compare(rings, with: region.takenRings, "ring object")
    let interfaces =
      region.quarantined.interfaces
      + bindings.map {
        ($0.record.interfaceOffset - region.layout.interfaces.offset)
          / region.layout.interfaces.size
      }
    compare(interfaces, with: region.takenInterfaces, "netmap_if")
  }

  private mutating func compare(_ used: [Int], with taken: [Int], _ what: String) {
    let (usedOnce, taken) = (Set(used), Set(taken))
    for index in taken.subtracting(usedOnce).sorted() where region.isUsed {
      findings.append("memory \(region.id): \(what) \(index) is allocated, but not in use")
    }
    for index in usedOnce.subtracting(taken).sorted() {
      findings.append("memory \(region.id): \(what) \(index) is in use, but not allocated")
    }
    if usedOnce.count < used.count {
      findings.append("memory \(region.id): a \(what) is used twice")
    }
  }
}
