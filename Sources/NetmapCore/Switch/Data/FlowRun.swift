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
  private static var flowRunMin: UInt32 { 16 }

  /// Whether this ring may forward runs at all: no virtio-net headers, no offsets, no port with
  /// back-pressure, and no broadcast that only some ports have received.
  @inline(__always)
  var isPlain: Bool {
    unsafe headerLength == 0 && isDirect && !vale.holdsAny && kring.deliveredSlot == 0
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
  mutating func forwardFlowRuns(
    from first: UInt32, upTo head: UInt32, limit: Int
  ) -> (packets: UInt32, bytes: UInt64) {
    let program = unsafe vale.program
    if program.isLearning {
      let gone = unsafe forwardFlowRun(from: first, upTo: head, limit: limit, asking: nil)
      if unsafe gone.packets > 0 || ring.next(first) == head { return gone }
    }
    return unsafe forwardVerdictRuns(from: first, upTo: head, limit: limit, program)
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
  mutating func forwardFlowRun(
    from first: UInt32, upTo head: UInt32, limit: Int, asking module: UnsafePointer<ModuleEntry>?
  ) -> (packets: UInt32, bytes: UInt64) {
    let run = unsafe flowRun(from: first, upTo: head, limit: UInt32(truncatingIfNeeded: limit))
    guard run.packets > 0, let receiver = unsafe decide(on: run, first, asking: module),
      let bytes = unsafe copyAcross(run.packets, from: first, to: receiver.port, receiver.ring)
    else { return (0, 0) }
    if unsafe module != nil { unsafe countDecided((Int(run.packets), dropped: 0)) }
    return (run.packets, bytes)
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
    let lease = unsafe reserve(place, for: receiver, enough: Int(packets)) { min(Int(packets), $0) }
    var bytes: UInt64 = 0
    if let lease {
      bytes = unsafe copy(lease.slots, from: first, to: place, lease.start)
      unsafe place.finish(lease, packets: UInt64(lease.slots), bytes: bytes)
      unsafe fetchNext(in: place.view, after: lease)
    }
    let granted = lease?.slots ?? 0
    if granted < packets {
      unsafe place.refuse(UInt64(packets &- granted))
      unsafe bytes &+= lengths(from: first, granted, packets)
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
      unsafe sum &+= UInt64(ring.rule.truncated(ring.loadWord(index).byteCount))
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
  private struct FlowRun {
    var packets: UInt32 = 0
    /// The destination address. The first byte on the wire is the lowest byte here.
    var target: UInt64 = 0
    var source: UInt64 = 0
  }

  /// Finds the flow run that a slot begins; one of no packets when it is too short, or for a group.
  @inline(__always)
  private func flowRun(from first: UInt32, upTo head: UInt32, limit: UInt32) -> FlowRun {
    // A local copy: stores through pointers cannot change it, so its fields stay in registers.
    let ring = unsafe ring
    let slot = unsafe ring.loadWord(first)
    guard unsafe ring.rule.isWhole(slot) else { return FlowRun() }
    let bytes = unsafe ring.buffer(slot.buffer)
    let start = unsafe bytes.loadUnaligned(as: UInt64.self)
    // Group addresses take the list path, so do not look at further slots here.
    guard unsafe !AddressTable.isGroup(UInt64(littleEndian: start)) else { return FlowRun() }
    let rest = unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    var run = unsafe FlowRun(
      packets: 1,
      target: UInt64(littleEndian: start) & SwitchView.addressMask,
      source: UInt64(littleEndian: start) >> 48 | UInt64(UInt32(littleEndian: rest)) << 16)
    var index = unsafe ring.next(first)
    let distance = unsafe ring.distance(from: first, to: head)
    let most = min(distance, limit)
    while run.packets < most {
      // A stretch does not wrap around the end of the ring.
      let stretch = unsafe min(most &- run.packets, ring.slotCount &- index)
      let count = unsafe sameFlow(
        in: ring, from: ring.place(index), stretch, start, rest)
      run.packets &+= count
      guard count == stretch else { break }
      index = unsafe ring.index(index, advancedBy: Int(count))
    }
    return unsafe run.packets == most || run.packets >= Self.flowRunMin ? run : FlowRun()
  }

  /// Counts the slots at the beginning of a stretch that hold packets with the given addresses.
  @inline(__always)
  private func sameFlow(
    in ring: Ring, from first: SlotPlace, _ stretch: UInt32, _ start: UInt64,
    _ rest: UInt32
  ) -> UInt32 {
    var place = unsafe first
    var count: UInt32 = 0
    while count != stretch {
      let slot = unsafe place.loadWord()
      guard unsafe ring.rule.isWhole(slot) else { break }
      let bytes = unsafe ring.buffer(slot.buffer)
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
  /// Looks addresses up directly where the switch is a learning bridge. Asking ``LearningModule``
  /// would take 109 instructions more, a tenth of a sync of one packet (docs/decisions/0066).
  ///
  /// - Returns: The one port and ring that receives the run; nil when the run must take another path.
  @inline(__always)
  private mutating func decide(
    on run: FlowRun, _ first: UInt32, asking module: UnsafePointer<ModuleEntry>?
  ) -> (port: Int, ring: Int)? {
    if let module = unsafe module { return unsafe ask(module, onFlowRunAt: first) }
    unsafe vale.learn(run.source, at: port)
    guard let receiver = unsafe vale.port(of: run.target), unsafe receiver != port else {
      return nil
    }
    return unsafe (Int(receiver), ringIndex)
  }

  /// Finds a port's receive ring if packets can be copied into it unchanged.
  @inline(__always)
  private func place(of receiver: Int, _ ring: Int) -> ReceiveTarget? {
    let generation = unsafe vale.generation(of: receiver)
    guard generation != 0, let target = unsafe destination(receiver, generation),
      let place = unsafe ReceiveTarget(target, ring: ring),
      unsafe place.shape.headerLength == 0,
      unsafe place.kring.openOffsetMask == 0,
      unsafe target.pointee.bufferSize >= self.ring.bufferSize
    else { return nil }
    return unsafe place
  }
}
