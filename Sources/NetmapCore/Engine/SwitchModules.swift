/// What is asked about a switch's module.
package enum ModuleRequest: Hashable, Sendable {
  /// What it is, and what it has counted.
  case report
  case choose(SwitchModuleChoice)
}

extension Engine {
  /// Where a loaded module runs is for whoever owns the engine to say: in its own process.
  ///
  /// - Parameters:
  ///   - choice: A loaded one.
  ///   - bridge: The switch's name.
  /// - Returns: With the module's report.
  /// - Throws: ``NetmapError`` as ``LoadedModule/init(path:configuration:)``, or `ENOENT` without a switch.
  package func loadModule(
    _ choice: SwitchModuleChoice, on bridge: String
  ) throws(NetmapError) -> SwitchAnswer {
    guard case .loaded(let path, let configuration, _) = choice else {
      return try answer(.module(bridge, .choose(choice)))
    }
    try choice.check()
    let current = try exclusively { (state) throws(NetmapError) in
      try state.knownBridge(bridge).modules.module
    }
    // Only the configuration is another one: the module may take it while it works.
    if let current, current.path == path {
      do throws(NetmapError) {
        try current.configure(configuration)
        return try exclusively { (state) throws(NetmapError) in
          let known = try state.knownBridge(bridge)
          known.modules.reconfigured(choice)
          return known.moduleAnswer
        }
      } catch {
        guard error.code == .unsupported else { throw error }
      }
    }
    let module = try LoadedModule(path: path, configuration: configuration)
    return try install(module, as: choice, on: bridge)
  }

  /// Has a module of this process decide on a switch.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch.
  package func install(
    _ module: LoadedModule, as choice: SwitchModuleChoice, on bridge: String
  ) throws(NetmapError) -> SwitchAnswer {
    try exclusively { (state) throws(NetmapError) in
      let known = try state.knownBridge(bridge)
      known.modules.set(module, as: choice, senders: state.senders(on: known))
      return known.moduleAnswer
    }
  }

  /// Sends all packets of a switch to a module host.
  ///
  /// - Parameters:
  ///   - serial: The switch.
  ///   - index: Of the host's port.
  ///   - name: What the module calls itself.
  ///   - process: The host's.
  ///   - choice: What was asked for.
  /// - Returns: With the module's report.
  /// - Throws: ``NetmapError`` `EBUSY` as ``BridgeModules``; `ENOENT` when the switch has gone.
  package func redirect(
    _ serial: UInt64, to index: Int, name: String, process: Int32, as choice: SwitchModuleChoice
  ) throws(NetmapError) -> SwitchAnswer {
    try exclusively { (state) throws(NetmapError) in
      guard let known = state.bridges.values.first(where: { $0.serial == serial }),
        known.members[index]?.isHidden == true
      else {
        throw NetmapError(
          .noSuchEntry, "load", name, reason: "the switch has gone meanwhile",
          remedy: "open its ports, and load it again")
      }
      try known.modules.redirect(
        to: index, name: name, process: process, as: choice, senders: state.senders(on: known))
      return known.moduleAnswer
    }
  }

  /// The number of a switch, which no other one ever has.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when there is none of that name.
  package func serial(ofSwitch name: String) throws(NetmapError) -> UInt64 {
    try exclusively { (state) throws(NetmapError) in try state.knownBridge(name).serial }
  }

  /// Whether a switch has other ports than those of module hosts.
  package func hasPorts(_ serial: UInt64) -> Bool {
    let found = try? exclusively { (state) throws(NetmapError) in
      state.bridges.values.first { $0.serial == serial }?.members.values.contains { !$0.isHidden }
    }
    return (found ?? nil) ?? false
  }
}

extension EngineState {
  /// Answers what is asked about a switch's module; loaded ones are not for here.
  func answer(_ request: ModuleRequest, on name: String) throws(NetmapError) -> SwitchAnswer {
    let bridge = try knownBridge(name)
    if case .choose(let choice) = request {
      try choice.check()
      let ports = bridge.members.values.filter { !$0.isHidden }.map { ($0.portName, $0.index) }
      try bridge.modules.set(
        choice, ports: Dictionary(ports) { first, _ in first }, senders: senders(on: bridge))
    }
    return bridge.moduleAnswer
  }

  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` when it cannot be one.
  func knownBridge(_ name: String) throws(NetmapError) -> Bridge {
    guard name.hasPrefix("vale"), !name.contains(":") else {
      throw NetmapError(
        .invalidArgument, "configure", name, reason: "it names no switch",
        remedy: "names of switches begin with vale and have no colon")
    }
    guard let bridge = bridges[name] else {
      throw NetmapError(
        .noSuchEntry, "configure", name, reason: "there is no such switch",
        remedy: "it appears with its first port, and its module goes with the last one")
    }
    return bridge
  }

  /// Every port that may be in the middle of a sync of the switch.
  func senders(on bridge: Bridge) -> [SyncSegment] {
    bridge.members.values.map(\.port.segment)
      + leaving.filter { $0.bridge === bridge }.map(\.port.segment)
  }
}

extension Bridge {
  var moduleAnswer: SwitchAnswer {
    var answer = SwitchAnswer()
    answer.name = name
    answer.switchIndex = number
    answer.module = modules.report(
      members.values.filter(\.isHidden).map { HostBacklog($0.port.segment) })
    return answer
  }
}

extension BridgeMember {
  /// The name without the switch's.
  var portName: String {
    String(name.rawValue.split(separator: ":", maxSplits: 1).last ?? "")
  }
}
