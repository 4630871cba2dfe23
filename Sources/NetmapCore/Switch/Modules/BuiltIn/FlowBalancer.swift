/// A load balancer, which distributes the packets from other ports over its output ports.
///
/// A hash of the flow, the same for both directions, selects the output. TCP, UDP and SCTP flows
/// are distinguished by addresses and ports, other IP packets and all fragments by their addresses,
/// and all other frames by their Ethernet addresses. If the selected output is not on the switch,
/// the balancer takes the next one of the list. It forwards packets that come from outputs as a
/// learning bridge does.
@unsafe
struct FlowBalancer {
  private let area: ModuleConfiguration

  init(_ area: ModuleConfiguration) {
    unsafe self.area = unsafe area
  }

  private func output(_ place: Int) -> UInt32 { unsafe area.load(BalancerLayout.outputs &+ place) }

  /// Writes the configuration, while the area is not in use.
  func store(_ outputs: [UInt32]) {
    unsafe area.store(BalancerLayout.count, UInt32(outputs.count))
    for (place, index) in outputs.enumerated() { unsafe set(place, index) }
  }

  /// Stores the port index of an output; packets may flow meanwhile.
  func set(_ place: Int, _ index: UInt32) {
    unsafe area.store(BalancerLayout.outputs + place, index)
  }

  @inline(__always)
  func lookup(_ batch: borrowing SwitchBatch) {
    let count = unsafe min(Int(area.load(BalancerLayout.count)), BalancerLayout.outputCountMax)
    let port = UInt32(batch.port)
    for place in 0..<count where unsafe output(place) == port {
      batch.route { packet in
        packet.learn()
        return packet.learned
      }
      return
    }
    batch.route { packet in
      guard packet.length >= 14, count > 0 else { return .drop }
      packet.learn()
      let hash = FlowHash.hash(packet)
      let first = Int(((hash >> 32) &* UInt64(count)) >> 32)
      for step in 0..<count {
        let place = first &+ step
        let index = unsafe output(place < count ? place : place &- count)
        if index < 254 { return SwitchVerdict(rawValue: index) }
      }
      return .drop
    }
  }
}

/// The words of the area: the number of outputs and, from ``outputs`` on, the port index of each.
///
/// The engine changes a word when its output joins or leaves the switch.
enum BalancerLayout {
  static let count = 0
  static let outputs = 16
  static let absent: UInt32 = .max
  static let outputCountMax = SwitchLimits.ports
}

enum FlowHash {
  /// Returns the same number for both directions of a flow.
  @inline(__always)
  static func hash(_ packet: borrowing SwitchPacket) -> UInt64 {
    let flow = packet.flow
    guard flow.family != .other else {
      return mix(mix(packet.source.rawValue) &+ mix(packet.destination.rawValue))
    }
    let (source, target) = (
      end(flow.source, flow.sourcePort), end(flow.destination, flow.destinationPort)
    )
    return mix(source &+ target &+ UInt64(flow.protocolNumber))
  }

  @inline(__always)
  private static func end(_ address: FlowAddress, _ port: UInt16) -> UInt64 {
    mix(mix(address.high ^ UInt64(port) << 40) ^ address.low)
  }

  @inline(__always)
  private static func mix(_ value: UInt64) -> UInt64 {
    var value = value &+ 0x9e37_79b9_7f4a_7c15
    value = (value ^ value >> 32) &* 0xd6e8_feb8_6659_fd93
    value = (value ^ value >> 32) &* 0xd6e8_feb8_6659_fd93
    return value ^ value >> 32
  }
}
