// Ports of VALE switches: `valeB:P` (`netmap_get_bdg_na`).

extension EngineState {
  /// The port that the request names. Creates the port, and its switch, if they do not exist.
  func switchPort(_ request: RegisterRequest, _ shared: Region?) throws(NetmapError) -> EnginePort {
    let name = request.name.base
    if let port = ports[.name(name)] { return port }
    let parts = try SwitchPortName(name)
    try checkPortPart(parts, of: name)
    let geometry = Self.switchGeometry(request.hints)
    let vale = try vale(parts.vale)
    do throws(NetmapError) {
      let port = try newSwitchPort(
        name, geometry, shared, extraBuffers: min(request.extraBuffers, EngineLimits.extraBuffers),
        isListed: !request.extensions.contains(.moduleHost))
      do throws(NetmapError) {
        try vale.add(port, as: name, isHidden: request.extensions.contains(.moduleHost))
      } catch {
        dropIfUnused(port.region)
        throw error
      }
      ports[.name(name)] = port
      return port
    } catch {
      dropIfUnused(vale)
      throw error
    }
  }

  /// Refuses the name of an interface. Opening a port does not put an interface on a switch; `VALE_ATTACH` does.
  private func checkPortPart(
    _ parts: SwitchPortName, of name: PortName
  ) throws(NetmapError) {
    guard try isKnown(parts.port) else { return }
    throw NetmapError(
      .invalidArgument, "open", name.rawValue,
      reason: "\(parts.port) is an interface that is not attached to \(parts.vale)",
      remedy: "attach it first: vale-ctl -a \(name.rawValue)")
  }

  /// Rings and slots of a switch port: 1 to 16 rings, 1 to 4096 slots.
  static func switchGeometry(_ hints: RingGeometryHints) -> PortGeometry {
    func slots(_ hint: UInt32) -> Int {
      EngineLimits.bound(
        Int(hint), default: EngineLimits.defaultSlots, in: SwitchLimits.slots)
    }
    func rings(_ hint: UInt16) -> Int {
      EngineLimits.bound(Int(hint), default: 1, in: SwitchLimits.rings)
    }
    return PortGeometry(
      transmitRings: rings(hints.transmitRings), receiveRings: rings(hints.receiveRings),
      transmitSlots: slots(hints.transmitSlots), receiveSlots: slots(hints.receiveSlots))
  }

  /// Creates a port that is on no switch yet, in `shared` or in a region of its own.
  func newSwitchPort(
    _ name: PortName, _ geometry: PortGeometry, _ shared: Region?, extraBuffers: Int,
    isListed: Bool = true
  ) throws(NetmapError) -> EnginePort {
    let region: Region
    if let shared {
      region = shared
    } else {
      region = try newRegion(
        .virtualPort(geometry, extraBuffers: extraBuffers, tunables.privateMinimums))
    }
    do throws(NetmapError) {
      let segment = try SyncSegment(
        creating: "netmap-port-\(name.rawValue)", ends: [geometry], region: region.layout,
        hasLeases: true)
      return EnginePort(
        name: name, kind: .vale, geometry: geometry, segment: segment, end: 0, region: region,
        bindingSlots: BindingSlots(), isListed: isListed)
    } catch {
      dropIfUnused(region)
      throw error
    }
  }

  /// The switch of that name. Creates it if it does not exist.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when there are as many as the tunable `max_bridges` allows.
  func vale(_ name: String) throws(NetmapError) -> EngineSwitch {
    if let vale = switches[name] { return vale }
    let limit = tunables[.switchCount]
    guard limit == 0 || switches.count < limit else {
      throw NetmapError(
        .outOfMemory, "create", name, reason: "there are \(limit) switches already",
        remedy: "start netmapd with a higher max_bridges, or with 0 for no limit")
    }
    let taken = Set(switches.values.map(\.number))
    let number = (0...).first { !taken.contains($0) } ?? 0
    lastSwitch += 1
    let vale = try EngineSwitch(name: name, number: number, serial: lastSwitch, directory)
    unsafe vale.segment.view.setBatch(tunables.switchBatch)
    switches[name] = vale
    return vale
  }

  /// Removes a switch that has no ports, with every address that it has learned.
  func dropIfUnused(_ vale: EngineSwitch) {
    if vale.members.isEmpty { switches[vale.name] = nil }
  }
}

/// The two parts of a switch port's name.
struct SwitchPortName {
  /// `vale` and the characters after it, up to the colon.
  let vale: String
  let port: String

  /// Splits the name of a switch port.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM`, as in netmap, when the name is malformed.
  init(_ name: PortName) throws(NetmapError) {
    func refusal(_ reason: String, _ remedy: String) -> NetmapError {
      NetmapError(.outOfMemory, "open", name.rawValue, reason: reason, remedy: remedy)
    }
    let limit = SwitchLimits.nameLength
    guard let colon = name.bytes.firstIndex(of: UInt8(ascii: ":")) else {
      throw refusal("it is not the name of a switch port", "write \(name.rawValue):PORT")
    }
    let (vale, port) = (name.bytes[..<colon], name.bytes[(colon + 1)...])
    guard vale.count <= limit, !port.isEmpty, port.count <= limit else {
      throw refusal(
        "the names of switches and of their ports have at most \(limit) characters, ports at least 1",
        "choose a shorter name")
    }
    let isPlain = vale.allSatisfy {
      (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95
    }
    guard isPlain else {
      throw refusal(
        "a switch's name has letters, digits and '_' only", "choose another name")
    }
    self.vale = String(decoding: vale, as: UTF8.self)
    self.port = String(decoding: port, as: UTF8.self)
  }
}
