package import NetmapCore

/// A port as the daemon lists it: who has it open, and what its rings have done.
package struct PortListing: Hashable, Sendable {
  package var name: String
  package var memoryID: UInt16
  package var geometry: PortGeometry
  /// `xdp copy`, ...; empty for ports that are no interface.
  package var backend: String
  /// The processes that opened it, one entry for each open.
  package var processes: [Int32]
  /// Packets and bytes that its rings have moved, and packets they dropped.
  package var transmit: Traffic
  package var receive: Traffic

  package struct Traffic: Hashable, Sendable {
    package var packets: UInt64
    package var bytes: UInt64
    /// Packets for everybody on a switch, and the copies that were made: see ``RingCounters/copies``.
    package var broadcasts: UInt64
    package var copies: UInt64
    package var reasons: DropCounters

    /// Drops for all reasons.
    package var drops: UInt64 { reasons.total }

    package init(_ counters: RingCounters) {
      packets = counters.packets
      bytes = counters.bytes
      broadcasts = counters.broadcasts
      copies = counters.copies
      reasons = counters.drops
    }

    /// Adds drops that were counted elsewhere.
    package mutating func add(_ drops: DropCounters) {
      for reason in DropReason.allCases { reasons[reason] &+= drops[reason] }
    }
  }

  package init(
    name: String, memoryID: UInt16, geometry: PortGeometry, backend: String, processes: [Int32],
    transmit: Traffic, receive: Traffic
  ) {
    self.name = name
    self.memoryID = memoryID
    self.geometry = geometry
    self.backend = backend
    self.processes = processes
    self.transmit = transmit
    self.receive = receive
  }
}

extension MessageWriter {
  package mutating func put(_ listing: PortListing) {
    put(listing.name)
    put(listing.memoryID)
    put(listing.geometry)
    put(listing.backend)
    put(UInt16(clamping: listing.processes.count))
    for process in listing.processes.prefix(Int(UInt16.max)) { put(process) }
    for traffic in [listing.transmit, listing.receive] {
      for value in [traffic.packets, traffic.bytes, traffic.broadcasts, traffic.copies] {
        put(value)
      }
      for reason in DropReason.allCases { put(traffic.reasons[reason]) }
    }
  }
}

extension MessageReader {
  mutating func takeListing() throws(NetmapError) -> PortListing {
    let (name, memoryID) = (try takeString(), try take(UInt16.self))
    let (geometry, backend) = (try takeGeometry(), try takeString())
    var processes: [Int32] = []
    for _ in 0..<(try take(UInt16.self)) { processes.append(try take(Int32.self)) }
    return PortListing(
      name: name, memoryID: memoryID, geometry: geometry, backend: backend, processes: processes,
      transmit: try takeTraffic(), receive: try takeTraffic())
  }

  private mutating func takeTraffic() throws(NetmapError) -> PortListing.Traffic {
    var counters = RingCounters()
    counters.packets = try take(UInt64.self)
    counters.bytes = try take(UInt64.self)
    counters.broadcasts = try take(UInt64.self)
    counters.copies = try take(UInt64.self)
    for reason in DropReason.allCases { counters.drops[reason] = try take(UInt64.self) }
    return PortListing.Traffic(counters)
  }
}
