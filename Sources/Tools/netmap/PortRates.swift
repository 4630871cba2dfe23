internal import NetmapClient
internal import ToolSupport

/// Packets per second of the listed ports, since the listing before.
struct PortRates {
  /// The rates of one port; nil for a port that the listing before did not have.
  struct Rate {
    let transmit: Double?
    let receive: Double?
  }

  private struct Counter: Hashable {
    let name: String
    let memory: UInt16
    /// Ports of several network namespaces may have the same name.
    let occurrence: Int
    let isTransmit: Bool

    init(_ port: PortListing, _ occurrence: Int, isTransmit: Bool) {
      name = port.name
      memory = port.memoryID
      self.occurrence = occurrence
      self.isTransmit = isTransmit
    }
  }

  private var rates = CounterRates<Counter>()

  /// Records a listing.
  ///
  /// - Returns: The rates of its ports, in their order.
  mutating func record(_ ports: [PortListing]) -> [Rate] {
    var occurrences: [String: Int] = [:]
    var counts: [Counter: UInt64] = [:]
    let counters = ports.map { port in
      let occurrence = occurrences[port.name, default: 0]
      occurrences[port.name] = occurrence + 1
      let (transmit, receive) = (
        Counter(port, occurrence, isTransmit: true), Counter(port, occurrence, isTransmit: false)
      )
      counts[transmit] = port.transmit.packets
      counts[receive] = port.receive.packets
      return (transmit, receive)
    }
    let found = rates.record(counts, at: Clock.monotonic())
    return counters.map { Rate(transmit: found[$0.0], receive: found[$0.1]) }
  }
}
