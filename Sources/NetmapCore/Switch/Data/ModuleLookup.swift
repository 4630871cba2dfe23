internal import Synchronization

/// A module that this process can call; the last cell of the ``DestinationTable`` points to it.
@unsafe
struct ModuleEntry {
  typealias Lookup = @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer) -> Void

  let lookup: Lookup
  let context: UnsafeMutableRawPointer?
  /// Whether a packet's addresses alone decide.
  let decidesByAddresses: Bool
  /// Whether the module can look at packets in the slots of a ring.
  let takesSlots: Bool
}

extension Forwarder {
  /// Puts each packet of a batch on a list, as the switch's module decides.
  @inline(never)
  mutating func lookUp(_ count: Int, by program: ModuleProgram) {
    switch program.kind {
    case .learning: return unsafe learnAndLookUp(count)
    case .hosted: return unsafe redirect(count, to: program.host)
    case .stopped: unsafe resetVerdicts(count)
    case .inProcess:
      guard let entry = unsafe moduleEntry else { return unsafe learnAndLookUp(count) }
      unsafe ask(entry, count)
    case .hub, .balancer, .filter:
      unsafe resetVerdicts(count)
      var batch = unsafe batch(count)
      unsafe askBuiltIn(program, &batch)
    }
    unsafe countDecided(distribute(count))
  }

  /// Asks a module of this process about frames.
  @inline(__always)
  mutating func ask(_ entry: UnsafePointer<ModuleEntry>, _ count: Int) {
    unsafe resetVerdicts(count)
    var batch = unsafe batch(count)
    unsafe ask(entry, &batch)
  }

  /// Asks a module of this process: the one indirect call of a batch.
  // The compiler's analysis cannot follow the call; a module answers for itself.
  @_semantics("no_performance_analysis")
  @inline(__always)
  func ask(_ entry: UnsafePointer<ModuleEntry>, _ batch: inout ModuleBatch) {
    unsafe withUnsafeMutablePointer(to: &batch) { head in
      unsafe entry.pointee.lookup(entry.pointee.context, UnsafeMutableRawPointer(head))
    }
  }

  /// Asks a built-in module: a hub, a balancer, a filter, or the learning bridge.
  @inline(never)
  mutating func askBuiltIn(_ program: ModuleProgram, _ batch: inout ModuleBatch) {
    let area = unsafe vale.configuration(program.area)
    unsafe withUnsafeMutablePointer(to: &batch) { head in
      let batch = unsafe SwitchBatch(head)
      switch program.kind {
      case .balancer: unsafe FlowBalancer(area).lookup(batch)
      case .filter: unsafe PacketFilter(area).lookup(batch)
      case .learning: LearningModule.decide(batch)
      default:
        batch.route { packet in
          packet.learn()
          return .broadcast
        }
      }
    }
  }

  /// Asks the module about a flow run, whose packets have the addresses of the packet at `slot`.
  ///
  /// - Returns: The one port and ring that receives the run; nil for any other verdict.
  @inline(never)
  mutating func ask(
    _ entry: UnsafePointer<ModuleEntry>, onFlowRunAt slot: UInt32
  ) -> (port: Int, ring: Int)? {
    if unsafe entry.pointee.takesSlots {
      unsafe verdicts[0] = SwitchVerdict.drop.rawValue
      var batch = unsafe batch(1, slotsFrom: slot)
      unsafe ask(entry, &batch)
    } else {
      let content = unsafe ring.loadWord(slot)
      unsafe frames.store(
        ring.buffer(content.buffer), room: ring.bufferSize,
        UInt16(truncatingIfNeeded: ring.rule.truncated(content.byteCount)), fragments: 1,
        continues: false)
      unsafe ask(entry, 1)
    }
    let verdict = unsafe verdicts[0]
    let receiver = verdict & 0xffff
    guard receiver < 254, unsafe receiver != port else { return nil }
    return unsafe (Int(receiver), ring(of: verdict))
  }

  /// The receive ring that a verdict selects.
  @inline(__always)
  func ring(of verdict: UInt32) -> Int {
    let field = Int(verdict >> 16 & 0xff)
    return unsafe field == 0 ? ringIndex : (field &- 1) & 15
  }

  @inline(__always)
  private func batch(_ count: Int) -> ModuleBatch {
    unsafe ModuleBatch(
      frames: UnsafeRawPointer(frames), verdicts: verdicts,
      addresses: vale.addressTable, count: count,
      frameStride: MemoryLayout<Frame>.stride, port: port, ring: ringIndex)
  }

  /// Makes a batch of `count` slots, all of them before the ring's end.
  @inline(__always)
  func batch(_ count: Int, slotsFrom first: UInt32) -> ModuleBatch {
    var batch = unsafe ModuleBatch(
      frames: nil, verdicts: verdicts, addresses: vale.addressTable, count: count,
      frameStride: 0, port: port, ring: ringIndex)
    unsafe batch.slots = UnsafeRawPointer(ring.place(first).address)
    unsafe batch.buffers = UnsafeRawPointer(ring.buffers)
    unsafe batch.bufferCount = ring.bufferCount
    unsafe batch.bufferSize = ring.bufferSize
    return unsafe batch
  }

  /// Sets all verdicts to drop: packets on which the module gives no verdict are dropped.
  @inline(__always)
  func resetVerdicts(_ count: Int) {
    unsafe verdicts.update(repeating: SwitchVerdict.drop.rawValue, count: count)
  }

  var moduleEntry: UnsafePointer<ModuleEntry>? {
    unsafe UnsafePointer(
      bitPattern: moduleCell(cells).pointee.load(ordering: .sequentiallyConsistent))
  }

  /// Puts packets on the lists that their verdicts select; every value is a valid verdict.
  ///
  /// - Parameter count: The number of frames.
  /// - Returns: The number of packets, and the number of those dropped.
  @inline(__always)
  mutating func distribute(_ count: Int) -> (packets: Int, dropped: Int) {
    // No verdict: the value before the first run.
    let none: UInt32 = .max
    var (packets, dropped) = (0, 0)
    // Consecutive packets with the same verdict, put on its list together.
    var run = FrameQueue()
    var runVerdict = none
    var index = 0
    while index < count {
      let packet = index
      let fragments = unsafe frames[packet].fragments
      index &+= 1
      if fragments > 1 { index &+= moreFrames(Int(fragments)) }
      packets &+= 1
      guard unsafe !frames[packet].isTooShort else {
        unsafe dropShort(packet)
        dropped &+= 1
        continue
      }
      let verdict = unsafe verdicts[packet]
      let number = UInt16(truncatingIfNeeded: packet)
      if verdict == runVerdict, run.packets > 0 {
        unsafe frames[Int(run.last)].next = number
      } else {
        if run.packets > 0 { unsafe dropped &+= put(run, runVerdict) }
        run = FrameQueue(head: number)
        runVerdict = verdict
      }
      run.last = number
      run.packets &+= 1
      run.slots &+= UInt16(max(fragments, 1))
    }
    if run.packets > 0 { unsafe dropped &+= put(run, runVerdict) }
    return (packets, dropped)
  }

  /// Counts packets on which the module was asked, and those dropped.
  @inline(__always)
  func countDecided(_ decided: (packets: Int, dropped: Int)) {
    unsafe vale.count(.packets, decided.packets, sender: sender)
    unsafe vale.count(.dropped, decided.dropped, sender: sender)
  }

  /// Appends packets to the list that a verdict selects.
  ///
  /// - Returns: The number of packets dropped: all or none.
  @inline(__always)
  private mutating func put(_ run: FrameQueue, _ verdict: UInt32) -> Int {
    let receiver = verdict & 0xffff
    guard receiver <= 254, unsafe receiver != port else {
      unsafe countUnsent(run, verdict)
      return Int(run.packets)
    }
    if receiver == 254 {
      unsafe join(run, to: &broadcast)
      return 0
    }
    let ring = unsafe ring(of: verdict)
    let place = Int(receiver) &* 16 &+ ring
    if unsafe queues[place].packets == 0 {
      unsafe touched[touchedCount] = UInt16(truncatingIfNeeded: place)
      unsafe touchedCount &+= 1
    }
    unsafe join(run, to: &queues[place])
    return 0
  }

  @inline(__always)
  private func join(_ run: FrameQueue, to queue: inout FrameQueue) {
    guard queue.packets > 0 else {
      queue = run
      return
    }
    unsafe frames[Int(queue.last)].next = run.head
    queue.last = run.last
    queue.packets &+= run.packets
    queue.slots &+= run.slots
  }

  @inline(never)
  func countUnsent(_ run: FrameQueue, _ verdict: UInt32) {
    let reason: DropReason = verdict & 0xffff > 254 ? .filtered : .noDestination
    var packet = Int(run.head)
    for _ in 0..<run.packets {
      unsafe drop(packet, reason)
      unsafe packet = Int(frames[packet].next)
    }
  }
}

/// The cell for a process's module, behind the cells of its destinations.
@inline(__always)
func moduleCell(_ cells: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt>> {
  unsafe (cells + SwitchLimits.indexes &* MemoryLayout<UInt>.size)
    .assumingMemoryBound(to: Atomic<UInt>.self)
}
