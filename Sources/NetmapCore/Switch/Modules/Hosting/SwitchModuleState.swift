internal import Synchronization

/// The engine's record of a switch's module, guarded by the engine's lock.
///
/// A built-in module is a number and a configuration area in the switch's segment. There are two
/// areas. The engine writes the area that is not in use, and then changes one word to select it. It
/// reuses an area only when no sync is under way any more that may have read the word before its
/// last change.
final class SwitchModuleState {
  private let segment: SwitchSegment
  private let destinations: DestinationTable
  private let clients: Directory
  /// The module that was requested last.
  private(set) var choice = SwitchModuleChoice.learning
  private var program = ModuleProgram(rawValue: 0)
  private var lastEpoch: UInt32 = 0
  /// The syncs that may still use the area that is not in use.
  private var users: [SenderWatch] = []
  /// Former modules of this process that syncs may still call.
  private var retired: [(module: LoadedModule, users: EpochWatch)] = []
  /// The module of this process that is in use, if any.
  private(set) var module: LoadedModule?
  /// The name of a hosted module, and the process that it runs in.
  private var host: (name: String, process: Int32)?

  private var changes: UInt64 = 0
  /// The counts when the module was chosen.
  private var packetsBefore: UInt64 = 0
  private var droppedBefore: UInt64 = 0
  private var failures: UInt64 = 0
  /// Packets lost in the rings of hosts that have ended.
  private var lost: UInt64 = 0
  /// Packets refused because those rings had no room.
  private var refused: UInt64 = 0

  init(_ segment: SwitchSegment, _ destinations: DestinationTable, _ clients: Directory) {
    self.clients = clients
    self.segment = segment
    self.destinations = destinations
  }

  // A thread may still hold the table, and sync a port that has left the switch.
  deinit {
    unsafe moduleCell(destinations.cells).pointee.store(0, ordering: .sequentiallyConsistent)
  }

  /// Selects a built-in module, without losing a packet.
  ///
  /// - Parameters:
  ///   - choice: The module, not a loaded one.
  ///   - ports: The index of each port, by the port's name on the switch.
  ///   - senders: The segments of all ports that may be in the middle of a sync.
  /// - Throws: ``NetmapError`` `EINVAL` for an invalid configuration, `E2BIG` for too many filter
  ///   rules, `EOPNOTSUPP` for a loaded module, `EBUSY` when a stopped sender may still read the
  ///   former configuration.
  func set(
    _ choice: SwitchModuleChoice, ports: [String: Int], senders: [SyncSegment]
  ) throws(NetmapError) {
    let kind: ModuleProgram.Kind
    var rules: FilterRules?
    switch choice {
    case .learning: kind = .learning
    case .hub: kind = .hub
    case .balancer(let outputs):
      guard !outputs.isEmpty, outputs.count <= BalancerLayout.outputCountMax,
        Set(outputs).count == outputs.count
      else {
        throw NetmapError(
          .invalidArgument, "configure", "balancer",
          reason: "it needs 1 to \(BalancerLayout.outputCountMax) output ports, each once",
          remedy: "name the output ports, separated by commas")
      }
      kind = .balancer
    case .filter(let text):
      rules = try FilterRules(text)
      kind = .filter
    case .loaded(let path, _, _):
      throw NetmapError(
        .unsupported, "load", path, reason: "this engine loads no modules",
        remedy: "use a built-in module: learning, hub, balancer or filter")
    }
    try checkArea()
    let area = 1 - program.area
    let place = unsafe segment.view.configuration(area)
    if case .balancer(let outputs) = choice {
      unsafe FlowBalancer(place).store(
        outputs.map { ports[$0].map { UInt32($0) } ?? BalancerLayout.absent })
    }
    if let rules { unsafe PacketFilter(place).store(rules) }
    change(to: kind, area: area, senders: senders)
    self.choice = choice
  }

  /// Selects a module of this process, without losing a packet.
  func set(_ module: LoadedModule, as choice: SwitchModuleChoice, senders: [SyncSegment]) {
    let former = self.module
    unsafe moduleCell(destinations.cells).pointee.store(
      UInt(bitPattern: module.entry), ordering: .sequentiallyConsistent)
    self.module = module
    change(to: .inProcess, area: program.area, senders: senders, keeps: true)
    if let former { retired.append((former, destinations.watch())) }
    self.choice = choice
  }

  /// Notes that the module in use has another configuration.
  func reconfigured(_ choice: SwitchModuleChoice) {
    self.choice = choice
    changes += 1
  }

  /// Sends every packet to a module host from now on.
  ///
  /// - Parameters:
  ///   - index: The index of the host's port.
  ///   - name: The module's own name.
  ///   - process: The host's process.
  ///   - choice: The requested module.
  ///   - senders: The segments of all ports that may be in the middle of a sync.
  /// - Throws: ``NetmapError`` `EBUSY` as in ``set(_:ports:senders:)``.
  func redirect(
    to index: Int, name: String, process: Int32, as choice: SwitchModuleChoice,
    senders: [SyncSegment]
  ) throws(NetmapError) {
    try checkArea()
    let area = 1 - program.area
    unsafe HostReport(segment.view.configuration(area)).clear()
    change(to: .hosted, area: area, host: index, senders: senders)
    self.choice = choice
    host = (name, process)
  }

  /// Selects the fallback after a module host's port has left the switch, for whatever reason.
  func hostLeft(_ index: Int) {
    guard program.kind == .hosted, program.host == index else { return }
    var falls = SwitchModuleChoice.Fallback.learning
    if case .loaded(_, _, let fallback) = choice { falls = fallback }
    change(to: falls == .stop ? .stopped : .learning, area: program.area, senders: [])
    failures += 1
  }

  /// Counts the packets in the ring of a module host that has left; no sender writes to the ring
  /// any more.
  func noteLosses(in backlog: HostBacklog) {
    lost &+= backlog.packets
    refused &+= backlog.refused
  }

  /// Notes that a port has joined the switch at `index` or, if `index` is nil, left it.
  func portChanged(_ name: String, _ index: Int?, left: Int? = nil) {
    if case .balancer(let outputs) = choice, program.kind == .balancer,
      let place = outputs.firstIndex(of: name)
    {
      unsafe FlowBalancer(segment.view.configuration(program.area)).set(
        place, index.map { UInt32($0) } ?? BalancerLayout.absent)
    }
    if let left { module?.portLeft(left) }
    sweep()
  }

  /// Releases the modules that no sync can be calling any more.
  func sweep() {
    for index in retired.indices.reversed() where retired[index].users.isOver() {
      retired.remove(at: index)
    }
  }

  private func checkArea() throws(NetmapError) {
    sweep()
    users.removeAll { $0.haveGoneOn() }
    guard users.isEmpty else {
      var error = NetmapError(
        .busy, "configure", "switch",
        reason: "a stopped sender may still be reading the former configuration",
        remedy: "continue the sender, or end it")
      error.patience = 1_000_000_000
      throw error
    }
  }

  private func change(
    to kind: ModuleProgram.Kind, area: Int, host index: Int = 0, senders: [SyncSegment],
    keeps: Bool = false
  ) {
    lastEpoch &+= 1
    let isFlip = area != program.area
    unsafe packetsBefore = segment.view.value(of: .packets)
    unsafe droppedBefore = segment.view.value(of: .dropped)
    program = ModuleProgram(kind, area: area, host: index, epoch: lastEpoch)
    // The configuration that the word selects has already been written.
    unsafe segment.view.setProgram(program)
    if isFlip { users.append(SenderWatch(senders, among: clients)) }
    changes += 1
    host = nil
    guard !keeps, let former = module else { return }
    module = nil
    unsafe moduleCell(destinations.cells).pointee.store(0, ordering: .sequentiallyConsistent)
    // A sync that has read the cell before may still call the module.
    retired.append((former, destinations.watch()))
  }

  /// Reports the module and its counts.
  ///
  /// - Parameter hosts: The backlogs of the hosts whose ports are on the switch now.
  /// - Returns: The report, for clients that ask.
  func report(_ hosts: [HostBacklog]) -> SwitchModuleReport {
    var report = SwitchModuleReport()
    report.choice = choice
    switch program.kind {
    case .learning: report.active = "learning"
    case .stopped: report.active = "stopped"
    case .hosted: report.active = host?.name ?? "hosted"
    case .inProcess: report.active = module?.name ?? "learning"
    case .hub, .balancer, .filter: report.active = choice.name
    }
    report.process = host?.process ?? 0
    let view = unsafe segment.view
    report.statistics = [
      SwitchModuleStatistic("changes", changes), SwitchModuleStatistic("failures", failures),
      SwitchModuleStatistic("lost", lost),
      SwitchModuleStatistic("refused", hosts.reduce(refused) { $0 &+ $1.refused }),
      unsafe SwitchModuleStatistic("packets", view.value(of: .packets) &- packetsBefore),
      unsafe SwitchModuleStatistic("dropped", view.value(of: .dropped) &- droppedBefore),
    ]
    if let module { report.statistics += module.statistics }
    if program.kind == .hosted {
      report.statistics += unsafe HostReport(view.configuration(program.area)).statistics
    }
    return report
  }
}
