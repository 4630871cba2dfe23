/// What a check of an engine's memory found; see ``Engine/check()``.
package struct CheckReport: Hashable, Sendable {
  /// What is wrong, a line each, which names the port or the memory region. Empty when all is well.
  package var findings: [String] = []

  /// Rings that moved while they were looked at, or that somebody was syncing: not judged.
  package var moving: [String] = []

  /// How much was looked at.
  package var ports = 0
  package var regions = 0
  /// Buffers that were in use.
  package var buffers = 0

  package init() {}

  /// What this report and a later one have in common: what a process was doing at one moment only is no
  /// fault.
  package func confirmed(by later: CheckReport) -> CheckReport {
    var result = later
    let before = Set(findings)
    result.findings = later.findings.filter { before.contains($0) }
    return result
  }
}

extension Engine {
  /// Walks every region, port and ring, and reports what is not as it must be.
  ///
  /// Each buffer must be in one place: free in the pool, in one slot of one ring (of the two rings of a
  /// pipe's direction the one that the positions say), in one list of extra buffers, lent to a backend,
  /// or kept back because a closed port may still be looked at. The indexes of each ring must be in
  /// order, its lock free or held by a client that lives, its description and the bindings' as the
  /// engine wrote them.
  ///
  /// Only memory at rest can be judged. A ring that is synced meanwhile is left out and named in
  /// ``CheckReport/moving``; then buffers of its region are not missed either. What an application does
  /// between two syncs cannot be seen: one that is just exchanging buffers between two rings has one of
  /// them twice. So check twice and believe what both found (``CheckReport/confirmed(by:)``), and do not
  /// take a finding about a port whose process you do not trust for a fault of the engine.
  ///
  /// Any thread. Nothing is changed, nothing waited for; other requests wait meanwhile, for about a
  /// millisecond for each thousand buffers in use.
  package func check() -> CheckReport {
    let report = try? exclusively { (state) throws(NetmapError) in
      var check = EngineCheck(state)
      return check.run()
    }
    return report ?? CheckReport()
  }
}

/// One walk over everything an engine has. Under the engine's lock.
struct EngineCheck {
  private let state: EngineState
  private var report = CheckReport()

  init(_ state: EngineState) {
    self.state = state
  }

  mutating func run() -> CheckReport {
    let ports = allPorts()
    report.ports = ports.count
    for port in ports { checkBindings(of: port) }
    let regions = allRegions(of: ports)
    report.regions = regions.count
    for region in regions {
      let inRegion = ports.filter { $0.region === region }
      var check = RegionCheck(
        region, inRegion, state.bindings.values.filter { $0.port.region === region },
        state.directory)
      check.run(&report)
    }
    report.moving.sort()
    return report
  }

  private func allPorts() -> [EnginePort] {
    var found: [ObjectIdentifier: EnginePort] = [:]
    func add(_ port: EnginePort) {
      guard found.updateValue(port, forKey: ObjectIdentifier(port)) == nil else { return }
      for pair in port.pipes.values {
        add(pair.master)
        add(pair.slave)
      }
    }
    for port in state.ports.values { add(port) }
    // Null ports are known by their bindings only.
    for binding in state.bindings.values { add(binding.port) }
    return found.values.sorted { $0.name.rawValue < $1.name.rawValue }
  }

  private func allRegions(of ports: [EnginePort]) -> [Region] {
    var found: [ObjectIdentifier: Region] = [:]
    for region in Array(state.regions.values) + ports.map(\.region)
      + state.quarantined.values.map(\.region)
    {
      found[ObjectIdentifier(region)] = region
    }
    return found.values.sorted { $0.id < $1.id }
  }

  /// The per-open state that processes read from shared memory.
  private mutating func checkBindings(of port: EnginePort) {
    let own = state.bindings.values.filter { $0.port === port }
    if own.count != port.bindings {
      report.findings.append(
        "\(port.name.rawValue): counted as open \(port.bindings) times, is open \(own.count) times")
    }
    for binding in own where port.segment.binding(at: binding.index) != binding.record {
      report.findings.append(
        "\(port.name.rawValue): the record of binding \(binding.index) is damaged")
    }
  }
}
