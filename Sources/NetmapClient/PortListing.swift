package import NetmapCore

/// A port as the daemon lists it: the processes that use it and the counters of its rings.
package struct PortListing: Hashable, Sendable {
  package var name: String
  package var memoryID: UInt16
  package var geometry: PortGeometry
  /// The backend and its mode, such as `xdp copy`; also says whether the port is isolated or an
  /// interface on a switch.
  ///
  /// Empty for all other ports that are not interfaces.
  package var backend: String
  /// Remarks on the interface, as it was when the port was opened.
  package var remarks: [String]
  /// The IDs of the processes that use the port.
  ///
  /// Each open contributes the processes that may have its rings mapped. An open that has none, or
  /// that is isolated, contributes the process that opened the port.
  package var processes: [Int32]
  /// Packets and bytes that the port's rings have moved, and packets that they have dropped.
  package var transmit: Traffic
  package var receive: Traffic

  package struct Traffic: Hashable, Sendable {
    package var packets: UInt64
    package var bytes: UInt64
    /// Packets sent to all ports of a switch, and the copies made of them: see
    /// ``RingCounters/copies``.
    package var broadcasts: UInt64
    package var copies: UInt64
    /// Packets of these that passed between two ends of a veth in shared memory.
    package var shortCutPackets: UInt64
    /// Times a ring was reset because a program had put `head` or `cur` where they may not be.
    package var resets: UInt64
    /// What was completed in received frames.
    package var repairs: RepairCounters
    package var reasons: DropCounters

    /// Drops for all reasons.
    package var drops: UInt64 { reasons.total }

    package init(_ counters: RingCounters) {
      packets = counters.packets
      bytes = counters.bytes
      broadcasts = counters.broadcasts
      copies = counters.copies
      shortCutPackets = counters.shortCutPackets
      resets = counters.resets
      repairs = counters.repairs
      reasons = counters.drops
    }

    /// Adds drops that another counter has counted.
    package mutating func add(_ drops: DropCounters) {
      for reason in DropReason.allCases { reasons[reason] &+= drops[reason] }
    }
  }

  package init(
    name: String, memoryID: UInt16, geometry: PortGeometry, backend: String, remarks: [String],
    processes: [Int32], transmit: Traffic, receive: Traffic
  ) {
    self.name = name
    self.memoryID = memoryID
    self.geometry = geometry
    self.backend = backend
    self.remarks = remarks
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
    put(listing.remarks)
    put(UInt16(clamping: listing.processes.count))
    for process in listing.processes.prefix(Int(UInt16.max)) { put(process) }
    for traffic in [listing.transmit, listing.receive] {
      for value in [
        traffic.packets, traffic.bytes, traffic.broadcasts, traffic.copies,
        traffic.shortCutPackets, traffic.resets, traffic.repairs.checksums,
        traffic.repairs.superPackets, traffic.repairs.tags,
      ] { put(value) }
      for reason in DropReason.allCases { put(traffic.reasons[reason]) }
    }
  }
}

extension MessageReader {
  mutating func takeListing() throws(NetmapError) -> PortListing {
    let (name, memoryID) = (try takeString(), try take(UInt16.self))
    let (geometry, backend) = (try takeGeometry(), try takeString())
    let remarks = try takeStrings()
    var processes: [Int32] = []
    for _ in 0..<(try take(UInt16.self)) { processes.append(try take(Int32.self)) }
    return PortListing(
      name: name, memoryID: memoryID, geometry: geometry, backend: backend, remarks: remarks,
      processes: processes, transmit: try takeTraffic(), receive: try takeTraffic())
  }

  private mutating func takeTraffic() throws(NetmapError) -> PortListing.Traffic {
    var counters = RingCounters()
    counters.packets = try take(UInt64.self)
    counters.bytes = try take(UInt64.self)
    counters.broadcasts = try take(UInt64.self)
    counters.copies = try take(UInt64.self)
    counters.shortCutPackets = try take(UInt64.self)
    counters.resets = try take(UInt64.self)
    counters.repairs.checksums = try take(UInt64.self)
    counters.repairs.superPackets = try take(UInt64.self)
    counters.repairs.tags = try take(UInt64.self)
    for reason in DropReason.allCases { counters.drops[reason] = try take(UInt64.self) }
    return PortListing.Traffic(counters)
  }
}
