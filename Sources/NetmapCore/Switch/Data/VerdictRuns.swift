// Verdict runs. Consecutive packets mostly have the same destination. A module that can look at
// packets in their slots gives a verdict on each, and the sender copies runs of the same verdict
// from ring to ring, in the order in which they were sent. It makes frames and lists only where
// runs are short.

extension Forwarder {
  /// The average number of packets per run below which lists are cheaper: they need one lease per
  /// receiver instead of one per run.
  private static var runMin: Int { 16 }

  /// Forwards single-slot packets as the switch's module decides.
  ///
  /// - Parameters:
  ///   - first: The first slot, before `head`.
  ///   - head: The slot after the last one to send.
  ///   - limit: The most slots to look at, at least 1.
  ///   - program: The switch's module.
  /// - Returns: The number of packets delivered or dropped, and their bytes; 0 packets when the
  ///   module must be asked about frames.
  @inline(never)
  mutating func forwardVerdictRuns(
    from first: UInt32, upTo head: UInt32, limit: Int, _ program: ModuleProgram
  ) -> (packets: UInt32, bytes: UInt64) {
    let behind = unsafe ring.slotCount &- first
    let count = unsafe min(limit, Int(min(ring.distance(from: first, to: head), behind)))
    var module: UnsafePointer<ModuleEntry>?
    switch program.kind {
    case .inProcess:
      guard let entry = unsafe moduleEntry else {
        return unsafe forwardFlowRun(from: first, upTo: head, limit: limit, asking: nil)
      }
      if count > 1, unsafe entry.pointee.decidesByAddresses {
        let gone = unsafe forwardFlowRun(from: first, upTo: head, limit: limit, asking: entry)
        if gone.packets > 0 { return gone }
      }
      guard unsafe entry.pointee.takesSlots else { return (0, 0) }
      unsafe module = entry
    case .learning, .hub, .balancer, .filter: break
    case .hosted, .stopped: return (0, 0)
    }
    var batch = unsafe batch(count, slotsFrom: first)
    if let module = unsafe module {
      unsafe ask(module, &batch)
    } else {
      unsafe askBuiltIn(program, &batch)
    }
    let decided = unsafe min(Int(batch.decided), count)
    guard decided > 0 else { return (0, 0) }
    let done: (packets: UInt32, bytes: UInt64, dropped: Int)
    if unsafe decided == 1 || isOneRun(decided) {
      done = unsafe deliverRun(first, UInt32(truncatingIfNeeded: decided), verdicts[0])
    } else if unsafe runs(decided) &* Self.runMin <= decided {
      done = unsafe deliverRuns(decided, from: first)
    } else {
      let found = unsafe collect(
        from: first, upTo: head, into: frames, limit: UInt32(truncatingIfNeeded: decided))
      done = unsafe (found.count, found.bytes, distribute(Int(found.count)).dropped)
      unsafe deliverLists()
    }
    if !program.isLearning { unsafe countDecided((Int(done.packets), done.dropped)) }
    return (done.packets, done.bytes)
  }

  /// Counts the runs of the same verdict.
  private func runs(_ count: Int) -> Int {
    let verdicts = unsafe verdicts
    var changes: UInt32 = 0
    for index in 1..<max(count, 1) {
      unsafe changes &+= verdicts[index] != verdicts[index &- 1] ? 1 : 0
    }
    return 1 &+ Int(changes)
  }

  // The compiler vectorizes this loop.
  @inline(__always)
  private func isOneRun(_ count: Int) -> Bool {
    let verdicts = unsafe verdicts
    let first = unsafe verdicts[0]
    var differences: UInt32 = 0
    for index in 0..<count { unsafe differences |= verdicts[index] ^ first }
    return differences == 0
  }

  /// Delivers runs one after the other.
  ///
  /// - Returns: As ``deliverRun(_:_:_:)``.
  @inline(never)
  private mutating func deliverRuns(
    _ count: Int, from slot: UInt32
  ) -> (packets: UInt32, bytes: UInt64, dropped: Int) {
    var (first, dropped) = (0, 0)
    var bytes: UInt64 = 0
    while first < count {
      let verdict = unsafe verdicts[first]
      var end = first &+ 1
      while end < count, unsafe verdicts[end] == verdict { end &+= 1 }
      let packets = UInt32(truncatingIfNeeded: end &- first)
      let done = unsafe deliverRun(slot &+ UInt32(truncatingIfNeeded: first), packets, verdict)
      bytes &+= done.bytes
      dropped &+= done.dropped
      first &+= Int(done.packets)
      guard done.packets == packets else { break }
    }
    return (UInt32(truncatingIfNeeded: first), bytes, dropped)
  }

  /// Delivers consecutive packets that have the same verdict.
  ///
  /// - Returns: The number of packets delivered or dropped, their bytes, and the number of those
  ///   dropped. All packets are delivered or dropped, unless the application has written to their
  ///   slots meanwhile.
  @inline(__always)
  private mutating func deliverRun(
    _ slot: UInt32, _ packets: UInt32, _ verdict: UInt32
  ) -> (packets: UInt32, bytes: UInt64, dropped: Int) {
    let receiver = Int(verdict & 0xffff)
    if receiver < 254, unsafe receiver != Int(port),
      let bytes = unsafe copyAcross(packets, from: slot, to: receiver, ring(of: verdict))
    {
      return (packets, bytes, 0)
    }
    return unsafe deliverUncommonRun(slot, packets, verdict)
  }

  /// Delivers a run that cannot be copied unchanged: to several ports, to a ring that wants packets
  /// in another form, or to no port.
  @inline(never)
  private mutating func deliverUncommonRun(
    _ slot: UInt32, _ packets: UInt32, _ verdict: UInt32
  ) -> (packets: UInt32, bytes: UInt64, dropped: Int) {
    let receiver = Int(verdict & 0xffff)
    let end = unsafe ring.index(slot, advancedBy: Int(packets))
    let found = unsafe collect(from: slot, upTo: end, into: frames, limit: packets)
    var run = FrameQueue()
    for packet in 0..<Int(found.count) { unsafe append(packet, 1, to: &run) }
    guard run.packets > 0 else { return (0, 0, 0) }
    if receiver < 254, unsafe receiver != Int(port) {
      _ = unsafe deliver(to: receiver, ring: ring(of: verdict), run, FrameQueue())
    } else if receiver == 254 {
      unsafe broadcast = run
      unsafe flood()
    } else {
      unsafe countUnsent(run, verdict)
      return (found.count, found.bytes, Int(found.count))
    }
    return (found.count, found.bytes, 0)
  }
}
