/// The rings of a port that a binding holds, as a range for each direction
/// (`netmap_interp_ringid`).
///
/// Ring numbers count hardware rings first, then host rings.
package struct RingRanges: Hashable, Sendable {
  package var transmit: Range<Int>
  package var receive: Range<Int>

  package subscript(direction: Direction) -> Range<Int> {
    direction == .transmit ? transmit : receive
  }

  /// Whether any of the rings is a host ring.
  package func holdHostRings(of port: PortGeometry) -> Bool {
    transmit.upperBound > port.transmitRings && !transmit.isEmpty
      || receive.upperBound > port.receiveRings && !receive.isEmpty
  }

  /// The rings that a request selects.
  ///
  /// If only one direction has a ring with the selected number, the other direction gets its ring 0
  /// of the same kind (hardware or host).
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the port has no such rings.
  package init(
    _ selection: RingSelection, flags: BindingFlags, of port: PortGeometry, named name: String
  ) throws(NetmapError) {
    transmit = 0..<0
    receive = 0..<0
    let wantsTransmit = !flags.contains(.receiveOnly)
    let wantsReceive = !flags.contains(.transmitOnly)
    // Both exclusions together select no rings, and then netmap does not check the mode either.
    guard wantsTransmit || wantsReceive else { return }
    try Self.check(selection, port, name)
    if wantsTransmit {
      transmit = Self.range(selection, port.transmitRings, port.hostTransmitRings)
    }
    if wantsReceive {
      receive = Self.range(selection, port.receiveRings, port.hostReceiveRings)
    }
  }

  private static func check(
    _ selection: RingSelection, _ port: PortGeometry, _ name: String
  ) throws(NetmapError) {
    switch selection {
    case .allHardware, .null:
      return
    case .host, .hardwareAndHost, .oneHost:
      guard port.hostTransmitRings > 0 || port.hostReceiveRings > 0 else {
        throw NetmapError(
          .invalidArgument, "open", name,
          reason: "this port has no host rings (connections to the host's network stack)",
          remedy: "open it without '^' and '*'")
      }
      if case .oneHost(let ring) = selection,
        ring >= port.hostTransmitRings, ring >= port.hostReceiveRings
      {
        throw outOfRange(
          ring, "host ring", max(port.hostTransmitRings, port.hostReceiveRings), name)
      }
    case .oneHardware(let ring):
      if ring >= port.transmitRings, ring >= port.receiveRings {
        throw outOfRange(ring, "ring", max(port.transmitRings, port.receiveRings), name)
      }
    }
  }

  private static func outOfRange(
    _ ring: UInt16, _ what: String, _ count: Int, _ name: String
  ) -> NetmapError {
    NetmapError(
      .invalidArgument, "open", name, reason: "there is no \(what) \(ring)",
      remedy: count == 0
        ? "the port has no \(what)s" : "the port has \(what)s 0...\(count - 1)")
  }

  private static func range(_ selection: RingSelection, _ rings: Int, _ host: Int) -> Range<Int> {
    switch selection {
    case .allHardware, .null: 0..<rings
    case .host: rings..<(rings + host)
    case .hardwareAndHost: 0..<(rings + host)
    case .oneHardware(let ring): single(Int(ring) < rings ? Int(ring) : 0, of: rings)
    case .oneHost(let ring):
      host == 0
        ? rings..<rings : single(rings + (Int(ring) < host ? Int(ring) : 0), of: rings + host)
    }
  }

  private static func single(_ ring: Int, of count: Int) -> Range<Int> {
    count == 0 ? 0..<0 : ring..<(ring + 1)
  }
}
