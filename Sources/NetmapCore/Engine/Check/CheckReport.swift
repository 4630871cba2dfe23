/// The result of a check of an engine's memory; see ``Engine/check()``.
package struct CheckReport: Hashable, Sendable {
  /// The faults that were found, one line each. A line names the port or the memory region. Empty when there are
  /// none.
  package var findings: [String] = []

  /// Rings that moved during the check, or that a process was syncing. They were not checked.
  package var moving: [String] = []

  /// How many ports and regions were checked.
  package var ports = 0
  package var regions = 0
  /// Buffers that were in use.
  package var buffers = 0

  package init() {}

  /// The later report, with only those findings that this report has as well.
  ///
  /// A finding of one report alone may be an application's work in progress, which is no fault.
  package func confirmed(by later: CheckReport) -> CheckReport {
    var result = later
    let before = Set(findings)
    result.findings = later.findings.filter { before.contains($0) }
    return result
  }
}

extension Engine {
  /// Walks every region, port and ring, and reports every broken invariant.
  ///
  /// Each buffer must be in exactly one place: free in the pool, in one slot of one ring, in one list of extra
  /// buffers, lent to a backend, or kept back because a process may still look at a closed port. For the two rings
  /// of a pipe's direction, the positions say which of them holds a slot. The indexes of each ring must be in
  /// order. Its lock must be free or held by a living client. Its description, and the records of the bindings,
  /// must be as the engine wrote them. A receive ring on a switch that waits for a sender's lease must wait for a
  /// lease that is finished, or that a living sender has announced.
  ///
  /// Only memory at rest can be checked. If a process syncs a ring during the check, the report names the ring in
  /// ``CheckReport/moving`` and does not judge it; it then does not report missing buffers of that region either.
  /// The check cannot see what an application does between two syncs: while an application exchanges buffers
  /// between two rings, one of them is in two slots. So check twice, and rely only on findings of both checks
  /// (``CheckReport/confirmed(by:)``). A finding about a port whose process is untrusted need not be a fault of the
  /// engine.
  ///
  /// Any thread may call it. The check changes nothing that it looks at, and waits for no sync. Other requests wait
  /// until it ends: about a millisecond for each thousand buffers in use.
  package func check() -> CheckReport {
    let report = try? exclusively { (state) throws(NetmapError) in
      var check = EngineCheck(state)
      return check.run()
    }
    return report ?? CheckReport()
  }
}

/// One walk over the whole state of an engine. The caller holds the engine's lock.
struct EngineCheck {
  private let state: EngineState
  /// What a dump says beyond the engine's state; nil for a check of a living engine.
  private let dump: CheckedDump?
  private var report = CheckReport()

  init(_ state: EngineState, dump: CheckedDump? = nil) {
    self.state = state
    self.dump = dump
  }

  mutating func run() -> CheckReport {
    let ports = dump?.ports ?? state.allPorts
    report.ports = ports.count
    for port in ports { checkBindings(of: port) }
    let regions = dump?.regions ?? state.allRegions(of: ports)
    report.regions = regions.count
    for region in regions {
      let inRegion = ports.filter { $0.region === region }
      var check = RegionCheck(
        region, inRegion, state.bindings.values.filter { $0.port.region === region },
        state.directory, dump)
      check.run(&report)
    }
    for vale in state.switches.values.sorted(by: { $0.number < $1.number }) {
      var check = LeaseCheck(vale, state.directory)
      let senders =
        state.senders(on: vale) + (dump?.leaving[ObjectIdentifier(vale)] ?? [])
      report.findings += check.findings(senders)
    }
    report.moving.sort()
    return report
  }

  /// Checks the records of bindings, which processes read from shared memory.
  private mutating func checkBindings(of port: EnginePort) {
    let own = state.bindings.values.filter { $0.port === port }
    if own.count != port.bindings {
      report.findings.append(
        "\(port.name.rawValue): the port counts \(port.bindings) bindings, but has \(own.count)")
    }
    for binding in own where port.segment.binding(at: binding.index) != binding.record {
      report.findings.append(
        "\(port.name.rawValue): the record of binding \(binding.index) is damaged")
    }
  }
}

extension EngineState {
  /// All ports, by name.
  var allPorts: [EnginePort] {
    var found: [ObjectIdentifier: EnginePort] = [:]
    func add(_ port: EnginePort) {
      guard found.updateValue(port, forKey: ObjectIdentifier(port)) == nil else { return }
      for pair in port.pipes.values {
        add(pair.master)
        add(pair.slave)
      }
    }
    for port in ports.values { add(port) }
    // Null ports are listed nowhere else: only their bindings name them.
    for binding in bindings.values { add(binding.port) }
    return found.values.sorted { $0.name.rawValue < $1.name.rawValue }
  }

  /// All regions, by number.
  func allRegions(of ports: [EnginePort]) -> [Region] {
    var found: [ObjectIdentifier: Region] = [:]
    for region in Array(regions.values) + ports.map(\.region)
      + quarantined.values.map(\.region)
    {
      found[ObjectIdentifier(region)] = region
    }
    return found.values.sorted { $0.id < $1.id }
  }
}

/// What a dump says beyond the state of the engine, for a check of the dump.
struct CheckedDump {
  let ports: [EnginePort]
  let regions: [Region]
  /// The rings that a process synced while the dump was made.
  let moving: Set<RingKey>
  /// The segments of ports that had left a switch, and that could still send.
  let leaving: [ObjectIdentifier: [SyncSegment]]
  /// For each region, the links of its lists of extra buffers.
  let links: [ObjectIdentifier: [UInt32: UInt32]]
}

/// A ring of a port.
struct RingKey: Hashable {
  let port: ObjectIdentifier
  let direction: Direction
  let index: Int

  init(_ port: EnginePort, _ direction: Direction, _ index: Int) {
    (self.port, self.direction, self.index) = (ObjectIdentifier(port), direction, index)
  }
}
