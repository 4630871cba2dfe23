// Packets side by side mostly go the same way. A module that can look at them in their slots says so of each, and
// they are copied run by run from ring to ring, in the order in which they were sent; frames and lists are
// made only where runs are short.

extension Forwarder {
  /// With fewer packets a run than this, on average, lists are cheaper: they need a lease for each receiver, and
  /// not for each run.
  private static var runMin: Int { 16 }

  /// Forwards packets that a slot begins, as the switch's module says.
  ///
  /// - Parameters:
  ///   - first: A slot before `head`.
  ///   - head: The end of what is sent.
  ///   - limit: Slots to look at, at most; at least 1.
  ///   - program: The module.
  /// - Returns: How many packets are done with, a slot each, and their bytes; none when the module has to be
  ///   asked about frames.
  @inline(never)
  mutating func forwardDecided(
    from first: UInt32, upTo head: UInt32, limit: Int, _ program: ModuleProgram
  ) -> (packets: UInt32, bytes: UInt64) {
    let behind = unsafe ring.slotCount &- first
    let count = unsafe min(limit, Int(min(ring.distance(from: first, to: head), behind)))
    var module: UnsafePointer<ModuleEntry>?
    switch program.kind {
    case .inProcess:
      guard let entry = unsafe moduleEntry else {
        return unsafe forwardCompany(from: first, upTo: head, limit: limit, asking: nil)
      }
      if count > 1, unsafe entry.pointee.decidesByAddresses {
        let gone = unsafe forwardCompany(from: first, upTo: head, limit: limit, asking: entry)
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

  /// How many runs of the same verdict there are.
  private func runs(_ count: Int) -> Int {
    let verdicts = unsafe verdicts
    var changes: UInt32 = 0
    for index in 1..<max(count, 1) {
      unsafe changes &+= verdicts[index] != verdicts[index &- 1] ? 1 : 0
    }
    return 1 &+ Int(changes)
  }

  // The compiler makes vectors of it.
  @inline(__always)
  private func isOneRun(_ count: Int) -> Bool {
    let verdicts = unsafe verdicts
    let first = unsafe verdicts[0]
    var differences: UInt32 = 0
    for index in 0..<count { unsafe differences |= verdicts[index] ^ first }
    return differences == 0
  }

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

  /// Delivers packets side by side that have the same verdict.
  ///
  /// - Returns: How many are done with: all of them, unless the application has written to their slots
  ///   meanwhile. Their bytes, and how many of them go to nobody.
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

  /// The same for what cannot be copied as it is: to several, to somebody who wants it otherwise, to nobody.
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
