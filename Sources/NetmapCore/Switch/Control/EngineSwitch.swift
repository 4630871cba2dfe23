/// The engine's record of a VALE switch: its ports and their indexes. Guarded by the engine's lock.
final class EngineSwitch {
  /// The switch's name: `vale` and the characters after it, up to the colon of a port's name.
  let name: String
  /// The switch's number in listings: `nr_bridge_idx`.
  let number: Int
  /// A number that no other switch of this engine ever gets.
  let serial: UInt64
  let segment: SwitchSegment
  /// The ports, as this process has mapped them.
  let destinations = DestinationTable()
  let modules: SwitchModuleState

  /// The ports on the switch, by index.
  private(set) var members: [Int: SwitchMember] = [:]
  /// Free indexes. ``add(_:as:isHidden:)`` takes the last one.
  private var free = Array((0..<SwitchLimits.ports).reversed())
  private var lastGeneration: UInt32 = 0

  init(name: String, number: Int, serial: UInt64, _ clients: Directory) throws(NetmapError) {
    self.name = name
    self.number = number
    self.serial = serial
    segment = try SwitchSegment(creating: name)
    modules = SwitchModuleState(segment, destinations, clients)
  }

  /// Puts a port on the switch under a name. From then on senders can send packets to it.
  ///
  /// A port that is already on another switch gets an index here, but receives no packets.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - name: The port's name on this switch.
  ///   - isHidden: Whether the port belongs to a module host. Broadcasts skip such a port: it receives only packets
  ///     that senders redirect to it.
  /// - Returns: The port's place on the switch.
  /// - Throws: ``NetmapError`` `ENOMEM` when the switch is full.
  @discardableResult
  func add(
    _ port: EnginePort, as name: PortName, isHidden: Bool = false
  ) throws(NetmapError) -> SwitchMember {
    guard members.count < SwitchLimits.activePorts, let index = free.popLast() else {
      throw NetmapError(
        .outOfMemory, "open", name.rawValue,
        reason: "\(self.name) has \(members.count) ports, and no room for more",
        remedy: "close some of them, or use another switch")
    }
    lastGeneration = lastGeneration == .max ? 1 : lastGeneration + 1
    let member = SwitchMember(
      vale: self, port: port, name: name, index: index, generation: lastGeneration,
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
    // Last: once the generation is set, senders send packets to the port.
    unsafe segment.view.setGeneration(lastGeneration, of: index, isHidden: isHidden)
    modules.portChanged(member.portName, index)
    return member
  }

  /// Puts a port of a dump at its place.
  func restore(_ member: SwitchMember) {
    members[member.index] = member
  }

  /// Takes a port off the switch.
  ///
  /// Senders that are copying into the port at this moment go on; see ``SwitchQuarantine``.
  func remove(_ member: SwitchMember) {
    unsafe segment.view.setGeneration(0, of: member.index)
    destinations.retire(member.index)
    members[member.index] = nil
    free.append(member.index)
    if member.isHidden { modules.hostLeft(member.index) }
    modules.portChanged(member.portName, nil, left: member.index)
  }

  /// The transmit krings of a port. A sender holds the lock of its kring while it sends.
  static func senders(_ segment: SyncSegment) -> [KRing] {
    unsafe (0..<segment.ringCount(end: 0, .transmit)).compactMap {
      unsafe segment.kring(end: 0, .transmit, $0)
    }
  }
}

/// A port's place on a switch.
final class SwitchMember {
  let vale: EngineSwitch
  unowned let port: EnginePort
  /// The port's name on the switch.
  let name: PortName
  let index: Int
  let generation: UInt32
  /// Whether it is a module host's port, which listings omit.
  let isHidden: Bool

  init(
    vale: EngineSwitch, port: EnginePort, name: PortName, index: Int, generation: UInt32,
    isHidden: Bool
  ) {
    self.vale = vale
    self.port = port
    self.name = name
    self.index = index
    self.generation = generation
    self.isHidden = isHidden
  }

  var place: SwitchAddress {
    SwitchAddress(
      serial: vale.serial, index: index, generation: generation, segment: vale.segment)
  }

  var mapping: SwitchMapping {
    SwitchMapping(
      segment: vale.segment, destinations: vale.destinations, index: index,
      generation: generation)
  }
}

/// A port's place on a switch, for a process that maps the switch's memory.
package struct SwitchAddress: Sendable {
  /// The switch's number, which no other switch of the engine ever gets.
  package let serial: UInt64
  package let index: Int
  package let generation: UInt32
  package let segment: SwitchSegment

  /// Packets for the port that senders dropped before they reached one of its receive rings.
  package var unreached: DropCounters {
    let view = unsafe segment.view
    var drops = DropCounters()
    unsafe drops[.unknownRegion] = view.counter(.unknownRegion, of: index)
    unsafe drops[.noReceiver] = view.counter(.noReceiver, of: index)
    return drops
  }

  package init(serial: UInt64, index: Int, generation: UInt32, segment: SwitchSegment) {
    self.serial = serial
    self.index = index
    self.generation = generation
    self.segment = segment
  }
}

/// A port on a switch, for a process that maps the port's memory.
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
      state.switches.values.map(\.serial)
    }
    return found ?? []
  }

  /// Every port that is on a switch now.
  package func neighbours(on serial: UInt64) -> [SwitchNeighbour] {
    let found = try? exclusively { (state) throws(NetmapError) in
      state.switches.values.first { $0.serial == serial }?.members.values.map {
        SwitchNeighbour(
          index: $0.index, generation: $0.generation, region: $0.port.region.memory,
          segment: $0.port.segment)
      }
    }
    return (found ?? nil) ?? []
  }
}
