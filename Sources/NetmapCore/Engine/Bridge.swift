/// A VALE switch as the engine knows it: who is on it, under which index. Guarded by the engine's lock.
final class Bridge {
  /// `vale` and what follows it, up to the colon.
  let name: String
  /// `bridge_idx` of a listing.
  let number: Int
  let segment: BridgeSegment
  /// The ports as this process has them mapped.
  let destinations = DestinationTable()

  /// Who is on the switch, by index.
  private(set) var members: [Int: BridgeMember] = [:]
  /// Free indexes; the last one is the next to be given out.
  private var free = Array((0..<SwitchLimits.ports).reversed())
  private var lastGeneration: UInt32 = 0

  init(name: String, number: Int) throws(NetmapError) {
    self.name = name
    self.number = number
    segment = try BridgeSegment(creating: name)
  }

  /// Puts a port on the switch.
  ///
  /// - Throws: ``NetmapError`` `ENOMEM` when the switch is full.
  func add(_ port: EnginePort) throws(NetmapError) {
    guard members.count < SwitchLimits.activePorts, let index = free.popLast() else {
      throw NetmapError(
        .outOfMemory, "open", port.name.rawValue,
        reason: "\(name) has \(members.count) ports, and no room for more",
        remedy: "close some, or use another switch")
    }
    lastGeneration = lastGeneration == .max ? 1 : lastGeneration + 1
    let member = BridgeMember(bridge: self, port: port, index: index, generation: lastGeneration)
    do throws(NetmapError) {
      member.retired = try destinations.install(
        index, region: port.region.memory, segment: port.segment, generation: lastGeneration)
    } catch {
      free.append(index)
      throw error
    }
    members[index] = member
    port.membership = member
    // Last: from here on packets are sent to it.
    unsafe segment.view.setGeneration(lastGeneration, of: index)
  }

  /// Takes a port off the switch. What senders are in the middle of goes on; see ``SwitchQuarantine``.
  func remove(_ member: BridgeMember) {
    unsafe segment.view.setGeneration(0, of: member.index)
    member.retired = destinations.remove(member.index)
    members[member.index] = nil
    free.append(member.index)
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
  let index: Int
  let generation: UInt32
  /// What senders of this process may still look at after the port has left.
  var retired: DestinationTable.Place?

  init(bridge: Bridge, port: EnginePort, index: Int, generation: UInt32) {
    self.bridge = bridge
    self.port = port
    self.index = index
    self.generation = generation
  }

  var attachment: BridgeAttachment {
    BridgeAttachment(
      segment: bridge.segment, destinations: bridge.destinations, index: index,
      generation: generation)
  }
}
