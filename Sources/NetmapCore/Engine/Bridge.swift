/// A VALE switch as the engine knows it: who is on it, under which index. Guarded by the engine's lock.
final class Bridge {
  /// `vale` and what follows it, up to the colon.
  let name: String
  /// `bridge_idx` of a listing.
  let number: Int
  /// Never used for another switch of the engine.
  let serial: UInt64
  let segment: BridgeSegment
  /// The ports as this process has them mapped.
  let destinations = DestinationTable()
  let modules: BridgeModules

  /// Who is on the switch, by index.
  private(set) var members: [Int: BridgeMember] = [:]
  /// Free indexes; the last one is the next to be given out.
  private var free = Array((0..<SwitchLimits.ports).reversed())
  private var lastGeneration: UInt32 = 0

  init(name: String, number: Int, serial: UInt64, _ clients: Directory) throws(NetmapError) {
    self.name = name
    self.number = number
    self.serial = serial
    segment = try BridgeSegment(creating: name)
    modules = BridgeModules(segment, destinations, clients)
  }

  /// Puts a port on the switch, under a name: packets are sent to it from now on.
  ///
  /// A port that is on another switch already takes an index here and receives nothing.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - name: The name it has here.
  ///   - isHidden: Whether it is a module host's: then only what is meant for it alone gets there.
  /// - Returns: Its place.
  /// - Throws: ``NetmapError`` `ENOMEM` when the switch is full.
  @discardableResult
  func add(
    _ port: EnginePort, as name: PortName, isHidden: Bool = false
  ) throws(NetmapError) -> BridgeMember {
    guard members.count < SwitchLimits.activePorts, let index = free.popLast() else {
      throw NetmapError(
        .outOfMemory, "open", name.rawValue,
        reason: "\(self.name) has \(members.count) ports, and no room for more",
        remedy: "close some, or use another switch")
    }
    lastGeneration = lastGeneration == .max ? 1 : lastGeneration + 1
    let member = BridgeMember(
      bridge: self, port: port, name: name, index: index, generation: lastGeneration,
      isHidden: isHidden)
    do throws(NetmapError) {
      try destinations.install(
        index, region: port.region.memory, segment: port.segment, generation: lastGeneration)
    } catch {
      free.append(index)
      throw error
    }
    members[index] = member
    port.memberships.append(member)
    // Last: from here on packets are sent to it.
    unsafe segment.view.setGeneration(lastGeneration, of: index, isHidden: isHidden)
    modules.portChanged(member.portName, index)
    return member
  }

  /// Takes a port off the switch. What senders are in the middle of goes on; see ``SwitchQuarantine``.
  func remove(_ member: BridgeMember) {
    unsafe segment.view.setGeneration(0, of: member.index)
    destinations.retire(member.index)
    members[member.index] = nil
    free.append(member.index)
    if member.isHidden { modules.hostLeft(member.index) }
    modules.portChanged(member.portName, nil, left: member.index)
  }

  /// The transmit krings of a port, each of which is locked while it sends.
  static func senders(_ segment: SyncSegment) -> [KRing] {
    unsafe (0..<segment.ringCount(end: 0, .transmit)).compactMap {
      unsafe segment.kring(end: 0, .transmit, $0)
    }
  }
}

/// A port's place on a switch.
final class BridgeMember {
  let bridge: Bridge
  unowned let port: EnginePort
  /// The name it has on the switch.
  let name: PortName
  let index: Int
  let generation: UInt32
  /// Whether it is a module host's port, which is nobody's business.
  let isHidden: Bool

  init(
    bridge: Bridge, port: EnginePort, name: PortName, index: Int, generation: UInt32, isHidden: Bool
  ) {
    self.bridge = bridge
    self.port = port
    self.name = name
    self.index = index
    self.generation = generation
    self.isHidden = isHidden
  }

  var place: SwitchPlace {
    SwitchPlace(
      serial: bridge.serial, index: index, generation: generation, segment: bridge.segment)
  }

  var attachment: BridgeAttachment {
    BridgeAttachment(
      segment: bridge.segment, destinations: bridge.destinations, index: index,
      generation: generation)
  }
}

/// Where a port is on a switch, for a process that is to map the switch.
package struct SwitchPlace: Sendable {
  /// The switch: a number that no other switch of the engine ever has.
  package let serial: UInt64
  package let index: Int
  package let generation: UInt32
  package let segment: BridgeSegment

  /// Packets for the port that did not get as far as a receive ring of it.
  package var unreached: DropCounters {
    let view = unsafe segment.view
    var drops = DropCounters()
    unsafe drops[.unknownRegion] = view.counter(.unknownRegion, of: index)
    unsafe drops[.noReceiver] = view.counter(.noReceiver, of: index)
    return drops
  }

  package init(serial: UInt64, index: Int, generation: UInt32, segment: BridgeSegment) {
    self.serial = serial
    self.index = index
    self.generation = generation
    self.segment = segment
  }
}

/// A port on a switch, for a process that is to map its memory.
package struct SwitchNeighbour: Sendable {
  package let index: Int
  package let generation: UInt32
  package let region: SharedMemory
  package let segment: SyncSegment
}

extension Engine {
  /// The numbers of all switches.
  package var switchSerials: [UInt64] {
    let found = try? exclusively { (state) throws(NetmapError) in
      state.bridges.values.map(\.serial)
    }
    return found ?? []
  }

  /// Every port that is on a switch now.
  package func neighbours(on serial: UInt64) -> [SwitchNeighbour] {
    let found = try? exclusively { (state) throws(NetmapError) in
      state.bridges.values.first { $0.serial == serial }?.members.values.map {
        SwitchNeighbour(
          index: $0.index, generation: $0.generation, region: $0.port.region.memory,
          segment: $0.port.segment)
      }
    }
    return (found ?? nil) ?? []
  }
}
