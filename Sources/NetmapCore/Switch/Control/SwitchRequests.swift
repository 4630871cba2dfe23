/// A request about switches and their ports: `NETMAP_REQ_VALE_*`, and those of `NETMAP_REQ_PORT_*` that concern a
/// switch.
package enum SwitchRequest: Sendable {
  /// `VALE_ATTACH`: puts an interface, or a persistent port, on a switch: `valeB:NAME`.
  case attach(RegisterRequest)
  /// `VALE_DETACH`.
  case detach(PortName)
  /// `VALE_LIST` with a name: finds that port, or that switch.
  case find(PortName)
  /// `VALE_LIST` without a name: finds the first port at this place or after it.
  case next(switch: Int, port: Int)
  /// `VALE_NEWIF`: creates a persistent port, with the rings, slots and memory of the request.
  case create(RegisterRequest)
  /// `VALE_DELIF`.
  case remove(PortName)
  /// `VALE_POLLING_ENABLE` on these CPUs, or `VALE_POLLING_DISABLE` when they are nil.
  case polling(PortName, PollingCPUs?)
  /// `PORT_INFO_GET`.
  case information(PortName)
  /// The module of a switch, by the switch's name. An addition of this implementation.
  case module(String, ModuleRequest)
  /// `PORT_HDR_SET`.
  case setHeader(PortName, length: Int)
  /// `PORT_HDR_GET`.
  case header(PortName)
}

extension SwitchRequest {
  /// The port that the request is about; nil when it is about none.
  package var name: PortName? {
    switch self {
    case .attach(let request), .create(let request): request.name
    case .detach(let name), .find(let name), .remove(let name), .polling(let name, _),
      .information(let name), .setHeader(let name, _), .header(let name):
      name
    case .next, .module: nil
    }
  }

  /// Whether the request changes state that other processes see.
  package var isChange: Bool {
    switch self {
    case .attach, .detach, .create, .remove, .polling, .setHeader, .module(_, .choose): true
    case .find, .next, .information, .header, .module(_, .report): false
    }
  }
}

/// The engine's answer to a ``SwitchRequest``. Fields that do not apply are 0.
package struct SwitchAnswer: Hashable, Sendable {
  package var name = ""
  /// `nr_bridge_idx`.
  package var switchIndex = 0
  /// `nr_port_idx`, 255 where a switch has no such port.
  package var portIndex = 0
  package var memoryID: UInt16 = 0
  package var memorySize = 0
  package var geometry = PortGeometry()
  package var module: SwitchModuleReport?
  /// `nr_hdr_len`.
  package var headerLength = 0
  /// Remarks on the interface that was attached, as in ``BackendDescription/remarks``.
  package var remarks: [String] = []

  package init() {}
}

/// The engine's decision about a ``SwitchRequest``, and the work that it leaves to the worker.
package enum SwitchOutcome: Sendable {
  /// Nothing is left to do.
  case done(SwitchAnswer)
  /// The engine has bound an interface and put it on a switch. The worker must carry its packets from now on.
  case attached(InterfaceOnSwitch)
  /// An interface is to be detached. The worker must stop carrying its packets; then ``Engine/endInterface(_:)``
  /// must be called.
  case detaches(PortName, SwitchAnswer)
  /// Polling threads are to serve an interface, or to stop when the CPUs are nil. ``Engine/forgetPolling(of:)``
  /// withdraws the grant.
  case polls(PortName, PollingCPUs?, SwitchAnswer)
}

extension Engine {
  /// Decides a request about switches, in one attempt.
  ///
  /// A refusal may say that another attempt is worthwhile (``NetmapError/patience``).
  ///
  /// - Throws: ``NetmapError`` with the `errno` that netmap has for the refusal.
  package func decide(_ request: SwitchRequest) throws(NetmapError) -> SwitchOutcome {
    try exclusively { (state) throws(NetmapError) in
      switch request {
      case .attach(let request): try state.attach(request)
      case .detach(let name): try state.detach(name)
      case .find(let name): .done(try state.find(name))
      case .next(let vale, let port): .done(try state.next(vale, port))
      case .create(let request): .done(try state.createPersistent(request))
      case .remove(let name): .done(try state.removePersistent(name))
      case .polling(let name, let cpus): try state.poll(name, cpus)
      case .information(let name): .done(try state.information(name))
      case .module(let name, let request): .done(try state.answer(request, on: name))
      case .setHeader(let name, let length): .done(try state.setHeader(name, length: length))
      case .header(let name): .done(try state.header(name))
      }
    }
  }

  /// Whether the engine holds ports that no process has open: persistent ports, or interfaces on switches.
  package var holdsPorts: Bool {
    let holds = try? exclusively { (state) throws(NetmapError) in
      !state.persistent.isEmpty || !state.interfacesOnSwitches.isEmpty
    }
    return holds ?? false
  }

  /// Whether attaching this name needs no worker to carry packets: the name is that of a persistent port, or
  /// malformed.
  package func needsNoCarrier(_ name: PortName) -> Bool {
    let isPersistent = try? exclusively { (state) throws(NetmapError) in
      state.persistent[try SwitchPortName(name).port] != nil
    }
    return isPersistent ?? true
  }
}

extension EngineState {
  fileprivate func attach(_ request: RegisterRequest) throws(NetmapError) -> SwitchOutcome {
    let name = request.name
    func refusal(
      _ code: NetmapError.Code, _ reason: String, _ remedy: String = ""
    ) -> NetmapError {
      NetmapError(code, "attach", name.rawValue, reason: reason, remedy: remedy)
    }
    if request.memoryID != 0 { _ = try region(request.memoryID, for: name.rawValue) }
    guard name.isVale else {
      throw refusal(
        .invalidArgument, "it is not the name of a switch port", "write valeSWITCH:\(name.rawValue)"
      )
    }
    if let vale = (try? SwitchPortName(name)).flatMap({ switches[$0.vale] }),
      vale.members.values.contains(where: { $0.name == name })
    {
      throw refusal(.busy, "it is already on the switch")
    }
    let parts = try SwitchPortName(name)
    guard let port = persistent[parts.port] else {
      return .attached(try attachInterface(request, parts))
    }
    try checkRings(request)
    guard request.selection == .allHardware else {
      throw refusal(
        .invalidArgument, "a persistent port has no host rings",
        "attach it without them: vale-ctl -a \(name.rawValue)")
    }
    guard port.bindings == 0, port.pipes.isEmpty else {
      throw refusal(
        .busy, "\(parts.port) is open", "attach it before programs open it")
    }
    let vale = try vale(parts.vale)
    do throws(NetmapError) {
      let member = try vale.add(port, as: name)
      if port.memberships.count == 1 { ports[.name(name)] = port }
      if request.extensions.contains(.backpressure) {
        port.holdsWhileAttached = true
        port.publishSwitchState()
      }
      return .done(member.answer)
    } catch {
      dropIfUnused(vale)
      throw error
    }
  }

  fileprivate func detach(_ name: PortName) throws(NetmapError) -> SwitchOutcome {
    func refusal(
      _ code: NetmapError.Code, _ reason: String, _ remedy: String = ""
    ) -> NetmapError {
      NetmapError(code, "detach", name.rawValue, reason: reason, remedy: remedy)
    }
    guard name.isVale else {
      throw refusal(
        .invalidArgument, "it is not the name of a switch port", "write valeSWITCH:\(name.rawValue)"
      )
    }
    guard let parts = try? SwitchPortName(name), let vale = switches[parts.vale],
      let member = vale.members.values.first(where: { $0.name == name })
    else { throw refusal(.noSuchDevice, "there is no such port on a switch") }
    if let attached = interfacesOnSwitches[name] {
      try attached.beginLeaving()
      return .detaches(name, member.answer)
    }
    let port = member.port
    if let interface = port.attachedAs {
      throw refusal(
        .busy, "it is the host stack of \(interface.rawValue)",
        "detach both: vale-ctl -d \(interface.rawValue)")
    }
    guard port.isPersistent else {
      throw refusal(.busy, "programs have it open", "close it in all programs, which removes it")
    }
    guard port.memberships.last === member else {
      throw refusal(
        .busy, "it was attached to another switch later",
        "detach \(port.memberships.last?.name.rawValue ?? "it there") first")
    }
    guard port.bindings == 0, port.pipes.isEmpty else {
      throw refusal(.busy, "programs have it open", "close it in these programs first")
    }
    let answer = member.answer
    quarantining(port) {
      port.memberships.removeLast()
      if port.memberships.isEmpty {
        ports[.name(name)] = nil
        port.holdsWhileAttached = false
      }
      vale.remove(member)
      dropIfUnused(vale)
    }
    return .done(answer)
  }

  fileprivate func find(_ name: PortName) throws(NetmapError) -> SwitchAnswer {
    guard name.isVale else {
      throw NetmapError(
        .invalidArgument, "list", name.rawValue,
        reason: "it is not the name of a switch or of a port of one",
        remedy: "names of switches begin with vale")
    }
    // The name may be that of the switch alone.
    let text = name.rawValue.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let vale = switches[String(text[0])] else {
      throw NetmapError(
        .noSuchEntry, "list", name.rawValue, reason: "there is no switch \(text[0])",
        remedy: "open its first port, which creates the switch")
    }
    var answer = SwitchAnswer()
    answer.name = name.rawValue
    answer.switchIndex = vale.number
    answer.portIndex = vale.members.values.first { $0.name == name }?.index ?? 255
    return answer
  }

  fileprivate func next(_ number: Int, _ port: Int) throws(NetmapError) -> SwitchAnswer {
    let members = switches.values.flatMap { $0.members.values.filter { !$0.isHidden } }
    let first =
      members
      .filter { $0.vale.number > number || $0.vale.number == number && $0.index >= port }
      .min { ($0.vale.number, $0.index) < ($1.vale.number, $1.index) }
    guard let first else {
      throw NetmapError(.noSuchEntry, "list", "switches", reason: "there are no more ports")
    }
    return first.answer
  }

  fileprivate func information(_ name: PortName) throws(NetmapError) -> SwitchAnswer {
    let port = try findPort(RegisterRequest(name: name))
    defer { dropIfUnused(port) }
    return port.answer
  }
}

extension SwitchMember {
  var answer: SwitchAnswer {
    var answer = port.answer
    answer.name = name.rawValue
    answer.switchIndex = vale.number
    answer.portIndex = index
    return answer
  }
}

extension EnginePort {
  /// The port's rings and memory.
  var answer: SwitchAnswer {
    var answer = SwitchAnswer()
    answer.name = name.rawValue
    answer.memoryID = region.id
    answer.memorySize = region.layout.shownByteCount
    answer.geometry = geometry
    return answer
  }
}
