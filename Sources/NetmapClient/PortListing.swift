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
    package var drops: UInt64

    package init(packets: UInt64, bytes: UInt64, drops: UInt64) {
      self.packets = packets
      self.bytes = bytes
      self.drops = drops
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
      put(traffic.packets)
      put(traffic.bytes)
      put(traffic.drops)
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
    PortListing.Traffic(
      packets: try take(UInt64.self), bytes: try take(UInt64.self), drops: try take(UInt64.self))
  }
}
