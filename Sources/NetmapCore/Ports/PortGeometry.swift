/// How many rings of how many slots a port has.
public struct PortGeometry: Hashable, Sendable {
  /// Hardware rings, or all there are on a port that is no NIC.
  public var transmitRings: Int
  public var receiveRings: Int
  public var transmitSlots: Int
  public var receiveSlots: Int
  /// Rings connected to the host's network stack; 0 on ports that have none.
  public var hostTransmitRings: Int
  public var hostReceiveRings: Int

  public init(
    transmitRings: Int = 1, receiveRings: Int = 1, transmitSlots: Int = 1024,
    receiveSlots: Int = 1024, hostTransmitRings: Int = 0, hostReceiveRings: Int = 0
  ) {
    self.transmitRings = transmitRings
    self.receiveRings = receiveRings
    self.transmitSlots = transmitSlots
    self.receiveSlots = receiveSlots
    self.hostTransmitRings = hostTransmitRings
    self.hostReceiveRings = hostReceiveRings
  }

  /// All rings of one direction, host rings included; they come last.
  package func rings(_ direction: Direction) -> Int {
    switch direction {
    case .transmit: transmitRings + hostTransmitRings
    case .receive: receiveRings + hostReceiveRings
    }
  }

  package func slots(_ direction: Direction) -> Int {
    direction == .transmit ? transmitSlots : receiveSlots
  }

  /// The ring pair that a ring belongs to: hardware pairs first, then host pairs.
  package func pair(_ direction: Direction, _ index: Int) -> Int {
    let hardware = direction == .transmit ? transmitRings : receiveRings
    return index < hardware ? index : max(transmitRings, receiveRings) + index - hardware
  }

  /// The port as its other end sees it: what one sends the other receives.
  package var mirrored: PortGeometry {
    PortGeometry(
      transmitRings: receiveRings, receiveRings: transmitRings, transmitSlots: receiveSlots,
      receiveSlots: transmitSlots)
  }
}
