/// A request about a switch's module.
package enum ModuleRequest: Hashable, Sendable {
  /// Asks which module it is, and for its counters.
  case report
  case choose(SwitchModuleChoice)
}

extension Engine {
  /// Chooses a module for a switch, and runs a loaded one in this process.
  ///
  /// For embedded engines. netmapd runs a loaded module in a module host instead, and calls
  /// ``redirect(_:to:name:process:as:)``.
  ///
  /// - Parameters:
  ///   - choice: The module. One that is not loaded from a file is chosen as by ``answer(_:)``.
  ///   - vale: The switch's name.
  /// - Returns: An answer with the module's report.
  /// - Throws: ``NetmapError`` as ``LoadedModule/init(path:configuration:)``, or `ENOENT` when there is no such
  ///   switch.
  package func loadModule(
    _ choice: SwitchModuleChoice, on vale: String
  ) throws(NetmapError) -> SwitchAnswer {
    guard case .loaded(let path, let configuration, _) = choice else {
      return try answer(.module(vale, .choose(choice)))
    }
    try choice.check()
    let current = try exclusively { (state) throws(NetmapError) in
      try state.knownSwitch(vale).modules.module
    }
    // Only the configuration differs. The module may accept a new one while it works.
    if let current, current.path == path {
      do throws(NetmapError) {
        try current.configure(configuration)
        return try exclusively { (state) throws(NetmapError) in
          let known = try state.knownSwitch(vale)
          known.modules.reconfigured(choice)
          return known.moduleAnswer
        }
      } catch {
        guard error.code == .unsupported else { throw error }
      }
    }
    let module = try LoadedModule(path: path, configuration: configuration)
    return try install(module, as: choice, on: vale)
  }

  /// Lets a module that is loaded into this process decide where the switch's packets go.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch.
  package func install(
    _ module: LoadedModule, as choice: SwitchModuleChoice, on vale: String
  ) throws(NetmapError) -> SwitchAnswer {
    try exclusively { (state) throws(NetmapError) in
      let known = try state.knownSwitch(vale)
      known.modules.set(module, as: choice, senders: state.senders(on: known))
      return known.moduleAnswer
    }
  }

  /// Sends all packets of a switch to a module host.
  ///
  /// - Parameters:
  ///   - serial: The switch's number.
  ///   - index: The index of the host's port.
  ///   - name: The module's own name.
  ///   - process: The host's process ID.
  ///   - choice: The module that the user chose.
  /// - Returns: An answer with the module's report.
  /// - Throws: ``NetmapError`` `EBUSY` as ``SwitchModuleState``; `ENOENT` when the switch no longer exists.
  package func redirect(
    _ serial: UInt64, to index: Int, name: String, process: Int32, as choice: SwitchModuleChoice
  ) throws(NetmapError) -> SwitchAnswer {
    try exclusively { (state) throws(NetmapError) in
      guard let known = state.switches.values.first(where: { $0.serial == serial }),
        known.members[index]?.isHidden == true
      else {
        throw NetmapError(
          .noSuchEntry, "load", name, reason: "the switch ended in the meantime",
          remedy: "open its ports, and load the module again")
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
    try exclusively { (state) throws(NetmapError) in try state.knownSwitch(name).serial }
  }

  /// Whether a switch has other ports than those of module hosts.
  package func hasPorts(_ serial: UInt64) -> Bool {
    let found = try? exclusively { (state) throws(NetmapError) in
      state.switches.values.first { $0.serial == serial }?.members.values.contains { !$0.isHidden }
    }
    return (found ?? nil) ?? false
  }
}

extension EngineState {
  /// Answers a request about a switch's module, except the choice of a module that is loaded from a file.
  func answer(_ request: ModuleRequest, on name: String) throws(NetmapError) -> SwitchAnswer {
    let vale = try knownSwitch(name)
    if case .choose(let choice) = request {
      try choice.check()
      let ports = vale.members.values.filter { !$0.isHidden }.map { ($0.portName, $0.index) }
      try vale.modules.set(
        choice, ports: Dictionary(ports) { first, _ in first }, senders: senders(on: vale))
    }
    return vale.moduleAnswer
  }

  /// The switch of that name.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` when the name cannot be a switch's.
  func knownSwitch(_ name: String) throws(NetmapError) -> EngineSwitch {
    guard name.hasPrefix("vale"), !name.contains(":") else {
      throw NetmapError(
        .invalidArgument, "configure", name, reason: "it is not the name of a switch",
        remedy: "names of switches begin with vale and have no colon")
    }
    guard let vale = switches[name] else {
      throw NetmapError(
        .noSuchEntry, "configure", name, reason: "there is no such switch",
        remedy:
          "open its first port, which creates it; a switch and its module end with the last port")
    }
    return vale
  }

  /// The sync segments of all ports that may be in the middle of a sync on the switch.
  func senders(on vale: EngineSwitch) -> [SyncSegment] {
    vale.members.values.map(\.port.segment)
      + leaving.filter { $0.vale === vale }.map(\.port.segment)
  }
}

extension EngineSwitch {
  var moduleAnswer: SwitchAnswer {
    var answer = SwitchAnswer()
    answer.name = name
    answer.switchIndex = number
    answer.module = modules.report(
      members.values.filter(\.isHidden).map { HostBacklog($0.port.segment) })
    return answer
  }
}

extension SwitchMember {
  /// The part of the name after the switch's.
  var portName: String {
    String(name.rawValue.split(separator: ":", maxSplits: 1).last ?? "")
  }
}
