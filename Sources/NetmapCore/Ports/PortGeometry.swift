/// The number of rings and slots of a port.
public struct PortGeometry: Hashable, Sendable {
  /// Hardware rings; all rings on a port that is not a NIC.
  public var transmitRings: Int
  public var receiveRings: Int
  public var transmitSlots: Int
  public var receiveSlots: Int
  /// Rings connected to the host's network stack; 0 on ports without any.
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

  /// The number of rings of one direction, including host rings, which come last.
  package func rings(_ direction: Direction) -> Int {
    switch direction {
    case .transmit: transmitRings + hostTransmitRings
    case .receive: receiveRings + hostReceiveRings
    }
  }

  package func slots(_ direction: Direction) -> Int {
    direction == .transmit ? transmitSlots : receiveSlots
  }

  /// The number of hardware ring pairs. Host pairs are numbered after them.
  package var hardwarePairs: Int { max(transmitRings, receiveRings) }

  /// The index of the pair that a ring belongs to: hardware pairs first, then host pairs.
  package func pair(_ direction: Direction, _ index: Int) -> Int {
    let hardware = direction == .transmit ? transmitRings : receiveRings
    return index < hardware ? index : hardwarePairs + index - hardware
  }

  /// The geometry of the other end, whose receive rings are this end's transmit rings and vice
  /// versa.
  package var mirrored: PortGeometry {
    PortGeometry(
      transmitRings: receiveRings, receiveRings: transmitRings, transmitSlots: receiveSlots,
      receiveSlots: transmitSlots)
  }
}
