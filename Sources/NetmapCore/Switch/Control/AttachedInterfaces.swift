// Network interfaces on a switch (`VALE_ATTACH`; upstream: bwrap). The engine itself opens all rings of the
// interface, and a switch port in the same region that has as many rings in the opposite directions. A worker
// carries the packets between the two (``InterfaceLink``).

/// The engine's record of an interface on a switch. Guarded by the engine's lock.
final class AttachedInterface {
  let name: PortName
  let interface: EnginePort
  let interfaceBinding: BindingID
  let portBinding: BindingID
  /// The CPUs whose threads poll the interface; nil while no thread polls it.
  var polling: PollingCPUs?
  /// Whether a request to detach it has been accepted.
  private var isLeaving = false

  init(
    name: PortName, interface: EnginePort, interfaceBinding: BindingID, portBinding: BindingID
  ) {
    self.name = name
    self.interface = interface
    self.interfaceBinding = interfaceBinding
    self.portBinding = portBinding
  }

  /// Begins to detach the interface.
  ///
  /// - Throws: ``NetmapError`` `EBUSY` while it is polled, or is being detached already.
  func beginLeaving() throws(NetmapError) {
    if polling != nil {
      throw NetmapError(
        .busy, "detach", name.rawValue, reason: "it is polled",
        remedy: "end polling first: vale-ctl -P \(name.rawValue)")
    }
    if isLeaving {
      throw NetmapError(
        .busy, "detach", name.rawValue, reason: "it is being detached", remedy: "wait a moment")
    }
    isLeaving = true
  }
}

/// An interface that the engine has put on a switch, for the worker that carries its packets.
package struct InterfaceOnSwitch: Sendable {
  /// `valeB:IFNAME`.
  package let name: PortName
  /// The binding of all rings of the interface.
  package let interface: Registration
  /// The binding of the switch port, which has as many rings.
  package let port: Registration
  package let answer: SwitchAnswer

  /// Ring pairs of the interface.
  package var lanes: Int {
    max(interface.geometry.transmitRings, interface.geometry.receiveRings)
  }
}

extension Engine {
  /// Takes an interface off its switch and releases it, once no worker carries its packets any more. Doing it twice
  /// does nothing.
  ///
  /// - Returns: The number of the switch that it was on; nil when it was on none.
  @discardableResult
  package func endInterface(_ name: PortName) -> UInt64? {
    let serial = try? exclusively { (state) throws(NetmapError) in state.endInterface(name) }
    return serial ?? nil
  }

  /// Records that no thread polls an interface: polling could not begin, or has ended.
  package func forgetPolling(of name: PortName) {
    try? exclusively { (state) throws(NetmapError) in
      state.interfacesOnSwitches[name]?.polling = nil
    }
  }
}

extension EnginePort {
  /// Refuses a port that the engine itself holds.
  ///
  /// - Throws: ``NetmapError`` `EBUSY`.
  func checkFree() throws(NetmapError) {
    guard let attachedAs else { return }
    throw NetmapError(
      .busy, "open", name.rawValue,
      reason: name == attachedAs
        ? "it is an interface on a switch" : "it is on a switch, as \(attachedAs.rawValue)",
      remedy: "detach it (vale-ctl -d \(attachedAs.rawValue)), or open another port of the switch"
    )
  }
}

extension EngineState {
  /// Refuses a request that selects other rings than all of the interface's.
  ///
  /// - Throws: ``NetmapError`` `EINVAL`.
  func checkRings(_ request: RegisterRequest) throws(NetmapError) {
    switch request.selection {
    case .allHardware: return
    case .hardwareAndHost:
      throw NetmapError(
        .invalidArgument, "attach", request.name.rawValue,
        reason: "host rings are not supported yet", remedy: "attach it without them: vale-ctl -a")
    case .host, .oneHost, .oneHardware, .null:
      throw NetmapError(
        .invalidArgument, "attach", request.name.rawValue,
        reason: "an interface is attached with all of its rings", remedy: "select no rings")
    }
  }

  /// Binds all rings of an interface, and the port that it gets on the switch.
  func attachInterface(
    _ request: RegisterRequest, _ parts: SwitchPortName
  ) throws(NetmapError) -> InterfaceOnSwitch {
    let name = request.name
    guard let interface = try interfacePort(
      try PortName(parts.port), request.backend, request.hints)
    else {
      throw NetmapError(
        .invalidArgument, "attach", name.rawValue, reason: "there is no interface \(parts.port)",
        remedy: "see 'ip link', or make a persistent port: vale-ctl -n \(parts.port)")
    }
    do throws(NetmapError) {
      if let other = interface.attachedAs {
        throw NetmapError(
          .busy, "attach", name.rawValue,
          reason: "\(parts.port) is already on a switch, as \(other.rawValue)",
          remedy: "detach it there first: vale-ctl -d \(other.rawValue)")
      }
      guard interface.isIdle else {
        throw NetmapError(
          .busy, "attach", name.rawValue, reason: "programs have \(parts.port) open",
          remedy: "close them first")
      }
      guard case .interface = interface.kind else {
        throw NetmapError(
          .invalidArgument, "attach", name.rawValue, reason: "\(parts.port) is not an interface",
          remedy: "open it as a port of the switch: \(name.rawValue)")
      }
      try checkRings(request)
      return try attach(interface, request, parts)
    } catch {
      dropIfUnused(interface)
      throw error
    }
  }

  private func attach(
    _ interface: EnginePort, _ request: RegisterRequest, _ parts: SwitchPortName
  ) throws(NetmapError) -> InterfaceOnSwitch {
    let (name, own) = (request.name, interface.geometry)
    // The port sends what the interface receives.
    let geometry = PortGeometry(
      transmitRings: own.receiveRings, receiveRings: own.transmitRings,
      transmitSlots: min(own.receiveSlots, SwitchLimits.slots.upperBound),
      receiveSlots: min(own.transmitSlots, SwitchLimits.slots.upperBound))
    let region =
      if request.memoryID != 0 {
        try region(request.memoryID, for: name.rawValue)
      } else {
        try newRegion(.interfaceOnSwitch(own, geometry))
      }
    defer { dropIfUnused(region) }
    var flags = request.flags.intersection([.receiveOnly, .transmitOnly])
    let bound = try bind(
      interface,
      RegisterRequest(
        name: interface.name, flags: flags.union(.exclusive), memoryID: region.id))
    do throws(NetmapError) {
      if flags.contains(.receiveOnly) != flags.contains(.transmitOnly) {
        flags.formSymmetricDifference([.receiveOnly, .transmitOnly])
      }
      let port = try boundSwitchPort(name, geometry, region, flags, parts)
      interface.attachedAs = name
      interfacesOnSwitches[name] = AttachedInterface(
        name: name, interface: interface, interfaceBinding: bound.id, portBinding: port.id)
      var answer = SwitchAnswer()
      answer.name = name.rawValue
      answer.memoryID = region.id
      answer.memorySize = region.memory.byteCount
      answer.geometry = geometry
      answer.portIndex = port.place?.index ?? 0
      answer.switchIndex = switches[parts.vale]?.number ?? 0
      answer.remarks = bound.backend?.remarks ?? []
      return InterfaceOnSwitch(name: name, interface: bound, port: port, answer: answer)
    } catch {
      release(bound.id, keepsViews: false)
      throw error
    }
  }

  private func boundSwitchPort(
    _ name: PortName, _ geometry: PortGeometry, _ region: Region, _ flags: BindingFlags,
    _ parts: SwitchPortName
  ) throws(NetmapError) -> Registration {
    let vale = try vale(parts.vale)
    do throws(NetmapError) {
      let port = try newSwitchPort(name, geometry, region, extraBuffers: 0)
      try vale.add(port, as: name)
      ports[.name(name)] = port
      port.attachedAs = name
      do throws(NetmapError) {
        return try bind(port, RegisterRequest(name: name, flags: flags.union(.exclusive)))
      } catch {
        dropIfUnused(port)
        throw error
      }
    } catch {
      dropIfUnused(vale)
      throw error
    }
  }

  fileprivate func endInterface(_ name: PortName) -> UInt64? {
    guard let attached = interfacesOnSwitches.removeValue(forKey: name) else { return nil }
    let serial = bindings[attached.portBinding]?.port.membership?.vale.serial
    // The port first: it holds buffers that came from the interface's rings.
    release(attached.portBinding, keepsViews: false)
    attached.interface.attachedAs = nil
    release(attached.interfaceBinding, keepsViews: false)
    return serial
  }

  /// Grants polling of an interface, or the end of it when `cpus` is nil (`nm_bdg_polling`).
  func poll(_ name: PortName, _ cpus: PollingCPUs?) throws(NetmapError) -> SwitchOutcome {
    func refusal(
      _ code: NetmapError.Code, _ reason: String, _ remedy: String = ""
    ) -> NetmapError {
      NetmapError(code, "poll", name.rawValue, reason: reason, remedy: remedy)
    }
    guard name.isVale else {
      throw refusal(.invalidArgument, "it is not the name of a switch port")
    }
    let members = switches.values.flatMap { $0.members.values }
    guard let member = members.first(where: { $0.name == name }) else {
      throw refusal(.noSuchDevice, "there is no such port on a switch")
    }
    guard let attached = interfacesOnSwitches[name] else {
      throw refusal(
        .unsupported, "it is not a network interface",
        "poll an interface that is attached to a switch")
    }
    guard (attached.polling == nil) == (cpus != nil) else {
      throw refusal(
        .badAddress, cpus == nil ? "it is not polled" : "it is already polled",
        cpus == nil ? "" : "end polling first: vale-ctl -P \(name.rawValue)")
    }
    try cpus?.check(rings: attached.interface.geometry.receiveRings, of: name)
    attached.polling = cpus
    return .polls(name, cpus, member.answer)
  }
}
