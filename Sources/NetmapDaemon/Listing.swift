internal import NetmapClient
internal import NetmapCore

// What `netmap ports` shows.

extension Server {
  /// As many ports as fit into one answer, from the one that the request names on.
  func list(_ message: Message) throws(NetmapError) -> Reply {
    var body = message.body
    let start = Int(try body.take(UInt32.self))
    let all = listings()
    var parts: [[UInt8]] = []
    var byteCount = 0
    for listing in all.dropFirst(start) {
      var writer = MessageWriter()
      writer.put(listing)
      byteCount += writer.bytes.count
      if byteCount > Message.byteCountMax - 64 { break }
      parts.append(writer.bytes)
    }
    let isLast = start + parts.count >= all.count
    return (
      Message.bytes(.done) { writer in
        writer.put(UInt16(parts.count))
        writer.put(UInt8(isLast ? 1 : 0))
        for part in parts { for byte in part { writer.put(byte) } }
      }, []
    )
  }

  private func listings() -> [PortListing] {
    var byName: [PortName: PortListing] = [:]
    for binding in bindings.values where binding.isOpen {
      let registration = binding.registration
      var listing = byName[registration.name] ?? self.listing(of: registration)
      listing.processes.append(binding.process)
      byName[registration.name] = listing
    }
    return byName.values.map {
      var listing = $0
      listing.processes.sort()
      return listing
    }.sorted { $0.name < $1.name }
  }

  private func listing(of registration: Registration) -> PortListing {
    let end = registration.segment.binding(at: registration.bindingIndex)?.end ?? 0
    let isPipe = registration.segment.endCount == 2
    let sent = traffic(registration, end: end, .transmit)
    var received = traffic(registration, end: end, .receive)
    if isPipe {
      // What the other end has handed over is what has arrived here.
      let handedOver = traffic(registration, end: 1 - end, .transmit)
      received.packets = handedOver.packets
      received.bytes = handedOver.bytes
    }
    if let place = registration.place { received.drops &+= place.unreached }
    return PortListing(
      name: registration.name.rawValue, memoryID: registration.memoryID,
      geometry: registration.geometry,
      backend: registration.backend.map { $0.mode.isEmpty ? $0.name : "\($0.name) \($0.mode)" }
        ?? "",
      processes: [], transmit: sent, receive: received)
  }

  private func traffic(
    _ registration: Registration, end: Int, _ direction: Direction
  ) -> PortListing.Traffic {
    let segment = registration.segment
    var sum = RingCounters()
    for index in 0..<segment.ringCount(end: end, direction) {
      if let kring = unsafe segment.kring(end: end, direction, index) {
        unsafe sum += kring.counters
      }
    }
    return PortListing.Traffic(
      packets: sum.packets, bytes: sum.bytes,
      drops: DropReason.allCases.reduce(0) { $0 &+ sum.drops[$1] })
  }
}
