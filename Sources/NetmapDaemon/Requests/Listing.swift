internal import Glibc
internal import NetmapClient
internal import NetmapCore

// The answers for `netmap ports`.

extension Server {
  /// Lists as many ports as fit into one answer, from the index that the request names.
  ///
  /// - Parameters:
  ///   - message: The request.
  ///   - client: The client. An untrusted client sees only the ports of its user.
  /// - Returns: The answer.
  /// - Throws: ``NetmapError`` `EINVAL` for a malformed request.
  func list(_ message: Message, for client: Client) throws(NetmapError) -> Reply {
    var body = message.body
    let start = Int(try body.take(UInt32.self))
    let all = client.isUntrusted ? listings(of: client.user) : listings()
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

  /// The ports of an untrusted user, under the names that the user gave.
  private func listings(of user: UInt32) -> [PortListing] {
    bindings.values.filter { $0.isOpen && !$0.isHidden && $0.isUntrusted && $0.user == user }.map {
      var listing = self.listing(of: $0.registration)
      listing.backend = BackendDescription.isolated
      listing.processes = [$0.process]
      return listing
    }.sorted { $0.name < $1.name }
  }

  private func listings() -> [PortListing] {
    // Several ports share a name where network namespaces have interfaces of the same name.
    struct Key: Hashable {
      let name: PortName
      let segment: ObjectIdentifier

      init(_ binding: OpenBinding) {
        name = binding.registration.name
        segment = binding.segment
      }
    }
    var byPort: [Key: PortListing] = [:]
    let open = bindings.values.filter { $0.isOpen && !$0.isHidden }
    for binding in open where binding.link == nil {
      let registration = binding.registration
      var listing = byPort[Key(binding)] ?? self.listing(of: registration)
      for remark in registration.backend?.remarks ?? [] where !listing.remarks.contains(remark) {
        listing.remarks.append(remark)
      }
      // Leave out the daemon itself: it opens ports on behalf of other processes, which the next
      // loop adds.
      let viewers = binding.viewers.compactMap { clients[$0.slot]?.process }
      // A token can outlive the process that opened the port. Then no process has the port mapped
      // until another one attaches the token.
      if let name = binding.attachedAs, name != registration.name {
        listing.backend += ", on \(name.rawValue)"
      } else if binding.attachedAs != nil {
        listing.backend = "interface"
      }
      listing.processes += (viewers.isEmpty ? [binding.process] : viewers).filter { $0 != getpid() }
      byPort[Key(binding)] = listing
    }
    for binding in open {
      guard let link = binding.link, let inside = bindings[link.inside],
        var listing = byPort[Key(inside)]
      else { continue }
      let own = self.listing(of: binding.registration)
      // An untrusted user's port has another name in the engine.
      if binding.isUntrusted { listing.name = own.name }
      listing.processes.append(binding.process)
      listing.transmit.add(own.transmit.reasons)
      listing.receive.add(own.receive.reasons)
      if !listing.backend.hasSuffix("isolated") {
        listing.backend += listing.backend.isEmpty ? "isolated" : ", isolated"
      }
      byPort[Key(inside)] = listing
    }
    return byPort.values.map {
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
      // The packets that the other end has handed over are those that have arrived here.
      let handedOver = traffic(registration, end: 1 - end, .transmit)
      received.packets = handedOver.packets
      received.bytes = handedOver.bytes
    }
    if let place = registration.place { received.add(place.unreached) }
    return PortListing(
      name: registration.name.rawValue, memoryID: registration.memoryID,
      geometry: registration.geometry,
      backend: registration.backend.map { $0.mode.isEmpty ? $0.name : "\($0.name) \($0.mode)" }
        ?? "",
      remarks: registration.backend?.remarks ?? [], processes: [], transmit: sent, receive: received
    )
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
    return PortListing.Traffic(sum)
  }
}
