internal import CLinux
internal import CNetmap
internal import Synchronization

// Flow runs. Consecutive slots often carry one flow. The sender looks up a run of consecutive
// packets with the same two Ethernet addresses once, and copies the run from ring to ring without
// building lists. All other packets take the list path (``Deliver.swift``), and so does every
// packet while the switch or a ring is in an unusual state. The list path also counts dropped
// packets.

extension Forwarder {
  /// The length of the shortest flow run that is forwarded on its own although other packets follow
  /// it in the batch.
  private static var companyMin: UInt32 { 16 }

  /// Whether this ring may forward runs at all: no virtio-net headers, no offsets, no port with
  /// back-pressure, and no broadcast that only some ports have received.
  @inline(__always)
  var isPlain: Bool {
    unsafe headerLength == 0 && isDirect && !bridge.holdsAny && kring.deliveredSlot == 0
  }

  /// Forwards consecutive single-slot packets from ring to ring.
  ///
  /// - Parameters:
  ///   - first: The first slot, before `head`.
  ///   - head: The slot after the last one to send.
  ///   - limit: The most slots to look at, at least 1.
  /// - Returns: The number of packets forwarded, and their bytes; 0 packets when they must take the
  ///   list path.
  @inline(__always)
  mutating func forwardNeighbours(
    from first: UInt32, upTo head: UInt32, limit: Int
  ) -> (packets: UInt32, bytes: UInt64) {
    let program = unsafe bridge.program
    if program.isLearning {
      let gone = unsafe forwardCompany(from: first, upTo: head, limit: limit, asking: nil)
      if unsafe gone.packets > 0 || ring.next(first) == head { return gone }
    }
    return unsafe forwardDecided(from: first, upTo: head, limit: limit, program)
  }

  /// Forwards the flow run that begins at a slot.
  ///
  /// - Parameters:
  ///   - first: The first slot, before `head`.
  ///   - head: The slot after the last one to send.
  ///   - limit: The most slots to look at, at least 1.
  ///   - module: A module that decides by addresses; nil for the learning bridge.
  /// - Returns: The number of packets forwarded, and their bytes; 0 packets when they must take the
  ///   list path.
  @inline(never)
  mutating func forwardCompany(
    from first: UInt32, upTo head: UInt32, limit: Int, asking module: UnsafePointer<ModuleEntry>?
  ) -> (packets: UInt32, bytes: UInt64) {
    let company = unsafe company(from: first, upTo: head, limit: UInt32(truncatingIfNeeded: limit))
    guard company.packets > 0, let receiver = unsafe decide(on: company, first, asking: module),
      let bytes = unsafe copyAcross(company.packets, from: first, to: receiver.port, receiver.ring)
    else { return (0, 0) }
    if unsafe module != nil { unsafe countDecided((Int(company.packets), dropped: 0)) }
    return (company.packets, bytes)
  }

  /// Copies packets into a receive ring of another port as far as they fit, and counts the others
  /// as refused.
  ///
  /// - Parameters:
  ///   - packets: The number of packets, at least 1, one slot each.
  ///   - first: The slot of the first packet.
  ///   - receiver: The index of the receiving port, below 254.
  ///   - ring: The number of its receive ring, taken modulo its ring count.
  /// - Returns: The bytes of all packets, refused ones included; nil when the packets cannot be
  ///   copied into that ring unchanged.
  // Marked mutating although it changes no state: calling a mutating method does not copy the
  // forwarder.
  @inline(never)
  mutating func copyAcross(
    _ packets: UInt32, from first: UInt32, to receiver: Int, _ ring: Int
  ) -> UInt64? {
    guard let place = unsafe place(of: receiver, ring) else { return nil }
    let granted = unsafe reserve(place, for: receiver, packets: Int(packets))
    var bytes: UInt64 = 0
    if granted.slots > 0 {
      bytes = unsafe copy(granted.slots, from: first, to: place, granted.start)
      unsafe place.finish(granted, packets: UInt64(granted.slots), bytes: bytes)
      unsafe fetchNext(in: place.view, after: granted)
    }
    if granted.slots < packets {
      unsafe place.refuse(UInt64(packets &- granted.slots))
      unsafe bytes &+= lengths(from: first, granted.slots, packets)
    }
    unsafe wake(place)
    return bytes
  }

  /// Sums the bytes of single-slot packets.
  @inline(never)
  private func lengths(from first: UInt32, _ start: UInt32, _ end: UInt32) -> UInt64 {
    var index = unsafe ring.index(first, advancedBy: Int(start))
    var sum: UInt64 = 0
    for _ in start..<end {
      unsafe sum &+= min(ring.loadWord(index).length, UInt64(ring.bufferSize))
      index = unsafe ring.next(index)
    }
    return sum
  }

  /// Prefetches the buffer that most likely receives the next packet.
  ///
  /// Otherwise the stores to that buffer would delay the exchange that publishes its lease.
  @inline(__always)
  private func fetchNext(in target: Ring, after lease: Lease) {
    let next = unsafe target.index(lease.start, advancedBy: Int(lease.slots))
    unsafe clinux_prefetch_to_write(target.buffer(target.place(next).loadBufferIndex()))
  }

  /// A flow run: consecutive single-slot packets with the same two Ethernet addresses.
  private struct Company {
    var packets: UInt32 = 0
    /// The destination address. The first byte on the wire is the lowest byte here.
    var target: UInt64 = 0
    var source: UInt64 = 0
  }

  @inline(__always)
  private func company(from first: UInt32, upTo head: UInt32, limit: UInt32) -> Company {
    // A local copy: stores through pointers cannot change it, so its fields stay in registers.
    let ring = unsafe ring
    let slot = unsafe ring.loadWord(first)
    guard unsafe slot.isWhole(in: ring) else { return Company() }
    let bytes = unsafe ring.buffers + slot.offset(in: ring)
    let start = unsafe bytes.loadUnaligned(as: UInt64.self)
    // Group addresses take the list path, so do not look at further slots here.
    guard UInt64(littleEndian: start) & 1 == 0 else { return Company() }
    let rest = unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    var company = unsafe Company(
      packets: 1,
      target: UInt64(littleEndian: start) & BridgeView.addressMask,
      source: UInt64(littleEndian: start) >> 48 | UInt64(UInt32(littleEndian: rest)) << 16)
    var index = unsafe ring.next(first)
    let distance = unsafe ring.distance(from: first, to: head)
    let most = min(distance, limit)
    while company.packets < most {
      // A stretch does not wrap around the end of the ring.
      let stretch = unsafe min(most &- company.packets, ring.slotCount &- index)
      let count = unsafe companions(
        in: ring, from: ring.place(index), stretch, start, rest)
      company.packets &+= count
      guard count == stretch else { break }
      index = unsafe ring.index(index, advancedBy: Int(count))
    }
    let isAll = company.packets == most
    return unsafe isAll || company.packets >= Self.companyMin ? company : Company()
  }

  /// Counts the slots at the beginning of a stretch that hold packets with the given addresses.
  @inline(__always)
  private func companions(
    in ring: Ring, from first: SlotPlace, _ stretch: UInt32, _ start: UInt64,
    _ rest: UInt32
  ) -> UInt32 {
    var place = unsafe first
    var count: UInt32 = 0
    while count != stretch {
      let slot = unsafe place.loadWord()
      guard unsafe slot.isWhole(in: ring) else { break }
      let bytes = unsafe ring.buffers + slot.offset(in: ring)
      guard unsafe bytes.loadUnaligned(as: UInt64.self) == start,
        unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self) == rest
      else { break }
      count &+= 1
      unsafe place += 1
    }
    return count
  }

  /// Decides where a flow run goes.
  ///
  /// - Returns: The one port and ring that receives the run; nil when the run must take the list
  ///   path.
  @inline(__always)
  private mutating func decide(
    on company: Company, _ first: UInt32, asking module: UnsafePointer<ModuleEntry>?
  ) -> (port: Int, ring: Int)? {
    if let module = unsafe module { return unsafe ask(module, onCompanyAt: first) }
    // The first byte on the wire is the lowest byte here. Its lowest bit marks a group address.
    if company.source & 1 == 0 { unsafe bridge.learn(company.source, at: port) }
    guard company.target & 1 == 0, let receiver = unsafe bridge.port(of: company.target),
      unsafe receiver != port
    else { return nil }
    return unsafe (Int(receiver), ringIndex)
  }

  /// Finds a port's receive ring if packets can be copied into it unchanged.
  @inline(__always)
  private func place(of receiver: Int, _ ring: Int) -> ReceivePlace? {
    let generation = unsafe bridge.generation(of: receiver)
    guard generation != 0, let target = unsafe destination(receiver, generation),
      let place = unsafe ReceivePlace(target, ring: ring),
      unsafe place.shape.headerLength == 0,
      unsafe place.kring.openOffsetMask == 0,
      unsafe target.pointee.bufferSize >= self.ring.bufferSize
    else { return nil }
    return unsafe place
  }

  /// Reserves slots for as many of the packets as fit.
  @inline(__always)
  private func reserve(_ place: ReceivePlace, for receiver: Int, packets: Int) -> Lease {
    let count = unsafe place.target.pointee.slotCount
    let generation = unsafe place.target.pointee.generation
    let target = unsafe LeaseTarget(port: receiver, generation: generation, ring: place.index)
    var known = unsafe place.kring.reservation
    if known.next < count {
      unsafe clinux_prefetch_to_write(place.view.place(known.next).address)
      unsafe place.leases.fetch(known.next)
    }
    for _ in unsafe 0..<ReceivePlace.triesMax {
      var room = unsafe Int(kring.knownRoom(at: known, of: count, target))
      if room < packets { room = unsafe place.free(after: known) }
      let slots = min(packets, room)
      guard slots > 0 else { break }
      let lease = Lease(
        sequence: known.sequence, start: known.next, slots: UInt32(truncatingIfNeeded: slots))
      unsafe kring.announce(
        target, known, slots: lease.slots, room: UInt32(truncatingIfNeeded: room &- slots))
      let following = known.following(lease.slots, of: count)
      let (isOurs, found) = unsafe place.kring.reserve(from: known, upTo: following)
      if isOurs { return lease }
      known = found
    }
    return Lease(sequence: 0, start: 0, slots: 0)
  }
}
