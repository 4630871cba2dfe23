internal import Synchronization

/// The module of a switch as the engine knows it. Guarded by the engine's lock.
///
/// A built-in module is its number and a configuration area in the segment. There are two areas: the one
/// that is not in use is written, then one word is changed. It is written only when no sync is under way
/// any more that may have read the word before its last change.
final class BridgeModules {
  private let segment: BridgeSegment
  private let destinations: DestinationTable
  private let clients: Directory
  /// What was asked for last.
  private(set) var choice = SwitchModuleChoice.learning
  private var program = ModuleProgram(rawValue: 0)
  private var lastEpoch: UInt32 = 0
  /// Who may still be using the area that is not in use.
  private var users: [SenderWatch] = []
  /// Modules of this process that syncs may still be calling.
  private var retired: [(module: LoadedModule, users: EpochWatch)] = []
  /// The module of this process that is in use.
  private(set) var module: LoadedModule?
  /// Of a hosted module: what it calls itself, and the process it runs in.
  private var host: (name: String, process: Int32)?

  private var changes: UInt64 = 0
  /// What had been counted when the module was chosen.
  private var packetsBefore: UInt64 = 0
  private var droppedBefore: UInt64 = 0
  private var failures: UInt64 = 0
  /// Packets that were lost in rings of hosts that have ended.
  private var lost: UInt64 = 0
  /// Packets for which those rings had no room.
  private var refused: UInt64 = 0

  init(_ segment: BridgeSegment, _ destinations: DestinationTable, _ clients: Directory) {
    self.clients = clients
    self.segment = segment
    self.destinations = destinations
  }

  // Somebody may still hold the table, and sync a port that has left.
  deinit {
    unsafe moduleCell(destinations.cells).pointee.store(0, ordering: .sequentiallyConsistent)
  }

  /// Makes the switch work by another module of its own. Loses no packet.
  ///
  /// - Parameters:
  ///   - choice: Not a loaded one.
  ///   - ports: Index of each port by its name on the switch.
  ///   - senders: Segments of every port that may be in the middle of a sync.
  /// - Throws: ``NetmapError`` `EINVAL` for a configuration that is none, `EBUSY` when a sender has stopped
  ///   that may still read the former configuration.
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
          remedy: "name them, separated by commas")
      }
      kind = .balancer
    case .filter(let text):
      rules = try FilterRules(text)
      kind = .filter
    case .loaded(let path, _, _):
      throw NetmapError(
        .unsupported, "load", path, reason: "this engine loads no modules",
        remedy: "use one of its own: learning, hub, balancer, filter")
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

  /// Has a module in this process decide. Loses no packet.
  func set(_ module: LoadedModule, as choice: SwitchModuleChoice, senders: [SyncSegment]) {
    let former = self.module
    unsafe moduleCell(destinations.cells).pointee.store(
      UInt(bitPattern: module.entry), ordering: .sequentiallyConsistent)
    self.module = module
    change(to: .inProcess, area: program.area, senders: senders, keeps: true)
    if let former { retired.append((former, destinations.watch())) }
    self.choice = choice
  }

  /// The module that is in use has another configuration.
  func reconfigured(_ choice: SwitchModuleChoice) {
    self.choice = choice
    changes += 1
  }

  /// Sends every packet to a module host from now on.
  ///
  /// - Parameters:
  ///   - index: Of its port.
  ///   - name: What the module calls itself.
  ///   - process: The host's.
  ///   - choice: What was asked for.
  ///   - senders: Segments of every port that may be in the middle of a sync.
  /// - Throws: ``NetmapError`` `EBUSY` as ``set(_:ports:senders:)``.
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

  /// The port of a module host has gone, whatever the reason: the switch works without it.
  func hostLeft(_ index: Int) {
    guard program.kind == .hosted, program.host == index else { return }
    var falls = SwitchModuleChoice.Fallback.learning
    if case .loaded(_, _, let fallback) = choice { falls = fallback }
    change(to: falls == .stop ? .stopped : .learning, area: program.area, senders: [])
    failures += 1
  }

  /// The port of a module host is gone, and nobody writes to its ring any more: what was in it is lost.
  func noteLosses(in backlog: HostBacklog) {
    lost &+= backlog.packets
    refused &+= backlog.refused
  }

  /// A port has come, or gone (nil).
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

  /// Lets go of modules that no sync can be calling.
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
        reason: "a sender has stopped that may still be reading the former configuration",
        remedy: "let it go on, or end it")
      error.patience = 500_000_000
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
    // What it says has been written.
    unsafe segment.view.setProgram(program)
    if isFlip { users.append(SenderWatch(senders, among: clients)) }
    changes += 1
    host = nil
    guard !keeps, let former = module else { return }
    module = nil
    unsafe moduleCell(destinations.cells).pointee.store(0, ordering: .sequentiallyConsistent)
    // Who has read the word before may still call it.
    retired.append((former, destinations.watch()))
  }

  /// What is known of the module.
  ///
  /// - Parameter hosts: Of the hosts whose ports are on the switch now.
  /// - Returns: For whoever asks.
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
