/// The ring counts and sizes requested for a port: the `conf` option.
///
/// The values are hints. They apply only to ports that the binding itself creates (switch ports,
/// pipes). netmap limits them to the port's ranges without an error; 0 leaves the choice to netmap.
/// For a pipe they describe the master end. See libnetmap's portspec.
public struct RingGeometryHints: Hashable, Sendable {
  /// Slots of each transmit ring.
  public var transmitSlots: UInt32
  /// Slots of each receive ring.
  public var receiveSlots: UInt32
  /// Hardware transmit rings.
  public var transmitRings: UInt16
  /// Hardware receive rings.
  public var receiveRings: UInt16
  /// Host transmit rings.
  public var hostTransmitRings: UInt16
  /// Host receive rings.
  public var hostReceiveRings: UInt16

  /// Creates hints; a value that is not given is netmap's choice.
  public init(
    transmitSlots: UInt32 = 0, receiveSlots: UInt32 = 0,
    transmitRings: UInt16 = 0, receiveRings: UInt16 = 0,
    hostTransmitRings: UInt16 = 0, hostReceiveRings: UInt16 = 0
  ) {
    self.transmitSlots = transmitSlots
    self.receiveSlots = receiveSlots
    self.transmitRings = transmitRings
    self.receiveRings = receiveRings
    self.hostTransmitRings = hostTransmitRings
    self.hostReceiveRings = hostReceiveRings
  }

  /// No hints.
  public static let none = RingGeometryHints()
}

extension RingGeometryHints {
  /// The `key=value` pairs of these hints, with a common key where both directions agree.
  var pairs: [PortOptionPair] {
    PortOptionPair.pairs(
      transmitRings, receiveRings, both: .rings, transmit: .transmitRings, receive: .receiveRings)
      + PortOptionPair.pairs(
        hostTransmitRings, hostReceiveRings,
        both: .hostRings, transmit: .hostTransmitRings, receive: .hostReceiveRings)
      + PortOptionPair.pairs(
        transmitSlots, receiveSlots,
        both: .slots, transmit: .transmitSlots, receive: .receiveSlots)
  }
}

extension PortOptionPair {
  fileprivate static func pairs(
    _ transmitted: some FixedWidthInteger, _ received: some FixedWidthInteger,
    both: PortOptionKey, transmit: PortOptionKey, receive: PortOptionKey
  ) -> [PortOptionPair] {
    let first = PortOptionPair(transmitted == received ? both : transmit, nonzero: transmitted)
    let second = transmitted == received ? nil : PortOptionPair(receive, nonzero: received)
    return [first, second].compactMap(\.self)
  }
}
