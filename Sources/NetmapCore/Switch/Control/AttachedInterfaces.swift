// Network interfaces on a switch (`VALE_ATTACH`; upstream: bwrap). The engine itself opens all rings of the
// interface, and a switch port in the same region that has as many rings in the opposite directions. A worker
// carries the packets between the two (``InterfaceLink``).

/// The engine's record of an interface on a switch. Guarded by the engine's lock.
final class AttachedInterface {
  let name: PortName
  let interface: EnginePort
  let interfaceBinding: BindingID
  /// The bindings of the interface's port on the switch, and of its host stack's if that is there too.
  let portBindings: [BindingID]
  /// The CPUs whose threads poll the interface; nil while no thread polls it.
  var polling: PollingCPUs?
  /// Whether a request to detach it has been accepted.
  private var isLeaving = false

  init(
    name: PortName, interface: EnginePort, interfaceBinding: BindingID, portBindings: [BindingID]
  ) {
    self.name = name
    self.interface = interface
    self.interfaceBinding = interfaceBinding
    self.portBindings = portBindings
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
  /// The binding of the switch port of the interface's host stack, `valeB:IFNAME^`; nil if that is not on the switch.
  package let hostPort: Registration?
  package let answer: SwitchAnswer

  /// The bindings of the ports on the switch.
  package var ports: [Registration] { [port] + (hostPort.map { [$0] } ?? []) }

  /// Ring pairs of the interface that are on the switch. Host pairs follow the hardware pairs.
  package var lanes: Int {
    let geometry = interface.geometry
    let host = hostPort == nil ? 0 : max(geometry.hostTransmitRings, geometry.hostReceiveRings)
    return geometry.hardwarePairs + host
  }

  /// The ring pair of a switch port that faces a ring pair of the interface.
  package func facing(_ lane: Int) -> (port: Registration, lane: Int) {
    let hardware = interface.geometry.hardwarePairs
    guard lane >= hardware, let hostPort else { return (port, lane) }
    return (hostPort, lane - hardware)
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
    case .allHardware, .hardwareAndHost: return
    case .host, .oneHost, .oneHardware, .null:
      throw NetmapError(
        .invalidArgument, "attach", request.name.rawValue,
        reason: "an interface is attached with all of its rings, or with its host rings as well",
        remedy: "select no rings")
    }
  }

  /// Binds all rings of an interface, and the port that it gets on the switch.
  func attachInterface(
    _ request: RegisterRequest, _ parts: SwitchPortName
  ) throws(NetmapError) -> InterfaceOnSwitch {
    let name = request.name
    guard
      let interface = try interfacePort(
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
    var hostGeometry: PortGeometry?
    if request.selection == .hardwareAndHost {
      hostGeometry = PortGeometry(
        transmitRings: own.hostReceiveRings, receiveRings: own.hostTransmitRings,
        transmitSlots: geometry.transmitSlots, receiveSlots: geometry.receiveSlots)
    }
    var used = own
    if hostGeometry == nil { (used.hostTransmitRings, used.hostReceiveRings) = (0, 0) }
    let region =
      if request.memoryID != 0 {
        try region(request.memoryID, for: name.rawValue)
      } else {
        try newRegion(.interfaceOnSwitch([used, geometry] + (hostGeometry.map { [$0] } ?? [])))
      }
    defer { dropIfUnused(region) }
    var flags = request.flags.intersection([.receiveOnly, .transmitOnly])
    let bound = try bind(
      interface,
      RegisterRequest(
        name: interface.name, selection: request.selection, flags: flags.union(.exclusive),
        memoryID: region.id))
    do throws(NetmapError) {
      if flags.contains(.receiveOnly) != flags.contains(.transmitOnly) {
        flags.formSymmetricDifference([.receiveOnly, .transmitOnly])
      }
      let port = try boundSwitchPort(name, geometry, region, flags, parts, of: name)
      var hostPort: Registration?
      if let hostGeometry {
        do throws(NetmapError) {
          hostPort = try boundSwitchPort(
            try PortName("\(name.rawValue)^"), hostGeometry, region, flags, parts, of: name)
        } catch {
          release(port.id, keepsViews: false)
          throw error
        }
      }
      interface.attachedAs = name
      interfacesOnSwitches[name] = AttachedInterface(
        name: name, interface: interface, interfaceBinding: bound.id,
        portBindings: [port.id] + (hostPort.map { [$0.id] } ?? []))
      var answer = SwitchAnswer()
      answer.name = name.rawValue
      answer.memoryID = region.id
      answer.memorySize = region.layout.shownByteCount
      answer.geometry = geometry
      answer.portIndex = port.place?.index ?? 0
      answer.switchIndex = switches[parts.vale]?.number ?? 0
      answer.remarks = bound.backend?.remarks ?? []
      return InterfaceOnSwitch(
        name: name, interface: bound, port: port, hostPort: hostPort, answer: answer)
    } catch {
      release(bound.id, keepsViews: false)
      throw error
    }
  }

  private func boundSwitchPort(
    _ name: PortName, _ geometry: PortGeometry, _ region: Region, _ flags: BindingFlags,
    _ parts: SwitchPortName, of interface: PortName
  ) throws(NetmapError) -> Registration {
    let vale = try vale(parts.vale)
    do throws(NetmapError) {
      let port = try newSwitchPort(name, geometry, region, extraBuffers: 0)
      try vale.add(port, as: name)
      ports[.name(name)] = port
      port.attachedAs = interface
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
    let serial = attached.portBindings.first.flatMap { bindings[$0]?.port.membership?.vale.serial }
    // The ports first: they hold buffers that came from the interface's rings.
    for binding in attached.portBindings { release(binding, keepsViews: false) }
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
