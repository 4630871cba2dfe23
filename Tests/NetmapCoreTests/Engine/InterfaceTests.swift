import NetmapCore
import Testing

@Suite("Interfaces: which rings a binding holds")
struct RingSelectionBindingTests {
  /// Ring numbers of a port with 3 + 1 transmit and 2 + 2 receive rings.
  struct Choice: Sendable, CustomTestStringConvertible {
    let selection: RingSelection
    let transmit: Range<Int>
    let receive: Range<Int>
    var testDescription: String { "\(selection)" }
  }

  static let choices: [Choice] = [
    Choice(selection: .allHardware, transmit: 0..<3, receive: 0..<2),
    Choice(selection: .host, transmit: 3..<4, receive: 2..<4),
    Choice(selection: .hardwareAndHost, transmit: 0..<4, receive: 0..<4),
    Choice(selection: .oneHardware(0), transmit: 0..<1, receive: 0..<1),
    Choice(selection: .oneHardware(1), transmit: 1..<2, receive: 1..<2),
    // Only transmit has a ring 2: receive falls back to ring 0.
    Choice(selection: .oneHardware(2), transmit: 2..<3, receive: 0..<1),
    Choice(selection: .oneHost(0), transmit: 3..<4, receive: 2..<3),
    // Only receive has a host ring 1: transmit falls back to host ring 0.
    Choice(selection: .oneHost(1), transmit: 3..<4, receive: 3..<4),
  ]

  static let restrictions: [BindingFlags] = [
    [], .transmitOnly, .receiveOnly, [.transmitOnly, .receiveOnly],
  ]

  @Test("every mode, in both directions, in one, and in none", arguments: choices, restrictions)
  func ranges(choice: Choice, flags: BindingFlags) throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0", choice.selection, flags: flags)
    let transmit = flags.contains(.receiveOnly) ? [] : Array(choice.transmit)
    let receive = flags.contains(.transmitOnly) ? [] : Array(choice.receive)
    #expect(
      (0..<port.attached.transmitCount).map { Int(port.tx($0).field(16, as: UInt16.self)) }
        == transmit)
    #expect(
      (0..<port.attached.receiveCount).map { Int(port.rx($0).field(16, as: UInt16.self)) }
        == receive)
    #expect(port.registration.geometry == .fake, "the answer tells all rings of the port")
    #expect(port.attached.record.flags == flags)
  }

  @Test("exclusive: only an overlap of rings conflicts", arguments: choices, choices)
  func exclusive(first: Choice, second: Choice) throws {
    for flags in Self.restrictions where !flags.contains([.transmitOnly, .receiveOnly]) {
      let engine = try Engine(interfaces: FakeInterfaces())
      let owner = try TestPort(engine, "fake0", first.selection, flags: .exclusive)
      let overlaps =
        !flags.contains(.receiveOnly) && first.transmit.overlaps(second.transmit)
        || !flags.contains(.transmitOnly) && first.receive.overlaps(second.receive)
      if overlaps {
        let error = #expect(throws: NetmapError.self) {
          try TestPort(engine, "fake0", second.selection, flags: flags)
        }
        #expect(error?.code == .busy)
        #expect(error?.description.contains("fake0") == true)
      } else {
        _ = try TestPort(engine, "fake0", second.selection, flags: flags)
      }
      owner.close()
      _ = try TestPort(engine, "fake0", second.selection, flags: flags.union(.exclusive))
    }
  }

  @Test("a port without rings in one direction binds the other")
  func oneWay() throws {
    let engine = try Engine(
      interfaces: FakeInterfaces([
        "tx0": PortGeometry(transmitRings: 2, receiveRings: 0, transmitSlots: 4)
      ]))
    let port = try TestPort(engine, "tx0", .oneHardware(1))
    #expect(port.attached.transmitCount == 1)
    #expect(port.attached.receiveCount == 0)
    #expect(port.attached.scan(.receive).isEmpty, "asked for input it is never ready")
  }
}

@Suite("Interfaces: the control half")
struct InterfaceControlTests {
  let interfaces = FakeInterfaces.probed(.pairs(3))
  let engine: Engine
  var fake: FakeInterface { interfaces["fake0"] }

  init() throws {
    engine = try Engine(interfaces: interfaces)
  }

  @Test(
    "each pair is activated once, before its first ring is bound, and deactivated after its last")
  func balanced() throws {
    let first = try TestPort(engine, "fake0")
    #expect(fake.calls == [.activate(0), .activate(1), .activate(2)])
    let second = try TestPort(engine, "fake0", .oneHardware(1))
    #expect(fake.calls.count == 3)
    first.close()
    #expect(fake.calls.dropFirst(3) == [.deactivate(0), .deactivate(2)])
    #expect(fake.active == [1])
    second.close()
    #expect(fake.calls.dropFirst(5) == [.deactivate(1)])
  }

  @Test(
    "a pair is one thing, whichever of its rings are bound, in whatever order",
    arguments: [
      [.transmitOnly, .receiveOnly], [.receiveOnly, .transmitOnly], [[], .receiveOnly],
      [[], .transmitOnly], [.receiveOnly, []], [.transmitOnly, []],
    ] as [[BindingFlags]])
  func halves(flags: [BindingFlags]) throws {
    let first = try TestPort(engine, "fake0", .oneHardware(0), flags: flags[0])
    let second = try TestPort(engine, "fake0", .oneHardware(0), flags: flags[1])
    #expect(fake.calls == [.activate(0)])
    first.close()
    #expect(fake.calls == [.activate(0)], "the second binding still holds a ring of the pair")
    let third = try TestPort(engine, "fake0", .oneHardware(0), flags: flags[0])
    #expect(fake.calls == [.activate(0)])
    second.close()
    #expect(fake.active == [0])
    third.close()
    #expect(fake.calls == [.activate(0), .deactivate(0)])
  }

  @Test("no rings, no activation")
  func noRings() throws {
    let port = try TestPort(engine, "fake0", flags: [.transmitOnly, .receiveOnly])
    port.close()
    #expect(fake.calls.isEmpty)
  }

  @Test(
    "random bindings: activations and deactivations of a pair alternate",
    arguments: [1, 2, 3] as [UInt64])
  func random(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    var ports: [(TestPort, pairs: Set<Int>)] = []
    for _ in 0..<100 {
      if generator.chance(55), ports.count < 8 {
        let all = generator.chance(30)
        let pair = UInt16.random(in: 0..<3, using: &generator)
        let flags =
          ([[], .transmitOnly, .receiveOnly] as [BindingFlags])
          .randomElement(using: &generator) ?? []
        let port = try TestPort(
          engine, "fake0", all ? .allHardware : .oneHardware(pair), flags: flags)
        ports.append((port, all ? [0, 1, 2] : [Int(pair)]))
      } else if let index = ports.indices.randomElement(using: &generator) {
        ports.remove(at: index).0.close()
      }
      let held = ports.reduce(into: Set<Int>()) { $0.formUnion($1.pairs) }
      #expect(fake.active == held, "seed \(seed)")
      for pair in 0..<3 {
        let calls = fake.calls.filter { $0 == .activate(pair) || $0 == .deactivate(pair) }
        let alternates = calls.indices.allSatisfy {
          calls[$0] == ($0 % 2 == 0 ? .activate(pair) : .deactivate(pair))
        }
        #expect(alternates, "seed \(seed)")
      }
    }
  }

  @Test("when one pair fails, those activated before it are undone, and everything is given back")
  func failure() throws {
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let cause = NetmapError(
      .outOfMemory, "mmap", "pair 2", reason: "no memory", remedy: "unload something")
    fake.failActivation(of: 2, with: cause)
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "fake0", extraBuffers: 3) }
    #expect(error?.code == .outOfMemory)
    #expect(error?.description.contains("fake0") == true)
    #expect(error?.remedy == "unload something")
    #expect(
      fake.calls == [.activate(0), .activate(1), .activate(2), .deactivate(0), .deactivate(1)])
    #expect(probe.free == before)
    #expect(engine.directory.entries.map(\.name) == ["probe0"])
    _ = try TestPort(engine, "fake0", .oneHardware(1))
    fake.failActivation(of: 2, with: nil)
    _ = try TestPort(engine, "fake0")
  }

  @Test("a failure leaves pairs that others use alone")
  func failureBeside() throws {
    let other = try TestPort(engine, "fake0", .oneHardware(0))
    fake.failActivation(
      of: 1, with: NetmapError(.inputOutput, "bind", "pair 1", reason: "no", remedy: "none"))
    #expect(throws: NetmapError.self) { try TestPort(engine, "fake0") }
    #expect(fake.active == [0])
    other.tx().send([1])
    #expect(other.rx().receive() == [1])
  }

  @Test("the engine tells what drives an interface, and nothing of other ports")
  func description() throws {
    let port = try TestPort(engine, "fake0")
    #expect(port.registration.backend?.name == "fake")
    #expect(port.registration.backend?.refusals.count == 1)
    #expect(try TestPort(engine, "a{1", hints: .slots(2)).registration.backend == nil)
  }

  @Test(
    "host rings have pairs of their own, after the hardware pairs",
    arguments: [
      (RingSelection.host, [3, 4]), (.oneHost(1), [3, 4]), (.oneHost(0), [3]),
      (.hardwareAndHost, [0, 1, 2, 3, 4]),
    ])
  func hostPairs(selection: RingSelection, pairs: [Int]) throws {
    // 3 + 1 transmit rings, 2 + 2 receive rings: hardware pairs 0...2, host pairs 3 and 4.
    let interfaces = FakeInterfaces()
    let port = try TestPort(Engine(interfaces: interfaces), "fake0", selection)
    #expect(interfaces["fake0"].active == Set(pairs))
    port.close()
    #expect(interfaces["fake0"].active.isEmpty)
  }
}

@Suite("Interfaces: regions")
struct InterfaceRegionTests {
  let interfaces = FakeInterfaces(["fake0": .pairs(2), "fake1": .pairs(1)])
  let engine: Engine

  init() throws {
    engine = try Engine(interfaces: interfaces)
  }

  @Test("interfaces share region 1")
  func shared() throws {
    let first = try TestPort(engine, "fake0")
    let second = try TestPort(engine, "fake1")
    #expect(first.registration.memoryID == 1)
    #expect(second.registration.memoryID == 1)
    #expect(Set(first.tx().bufferIndexes).isDisjoint(with: second.tx().bufferIndexes))
  }

  @Test("an idle interface moves to the region asked for, and back when its last binding goes")
  func switched() throws {
    let pipe = try TestPort(engine, "a{1", hints: .slots(4))
    let id = pipe.registration.memoryID
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
    let moved = try TestPort(engine, "fake0", memoryID: id)
    #expect(moved.registration.memoryID == id)
    #expect(moved.registration.memorySize == pipe.registration.memorySize)
    // Bound now: another number is ignored, without an error.
    let beside = try TestPort(engine, "fake0", memoryID: 1)
    #expect(beside.registration.memoryID == id)
    moved.tx(0).send([1, 2])
    #expect(beside.rx(0).receive() == [1, 2])
    moved.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == id)
    beside.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
  }

  @Test("back also while a pipe keeps the interface known")
  func switchedWithPipe() throws {
    let other = try TestPort(engine, "a{1", hints: .slots(4))
    let id = other.registration.memoryID
    let first = try TestPort(engine, "fake0", memoryID: id)
    let pipe = try TestPort(engine, "fake0{1")
    #expect(pipe.registration.memoryID == id)
    let second = try TestPort(engine, "fake0")
    first.close()
    second.close()
    #expect(try TestPort(engine, "fake0").registration.memoryID == 1)
  }

  @Test("a region lives as long as somebody is in it")
  func regionLifetime() throws {
    let pipe = try TestPort(engine, "a{1", hints: .slots(4))
    let id = pipe.registration.memoryID
    let guest = try TestPort(engine, "fake0", memoryID: id)
    pipe.close()
    guest.tx().send([1])
    #expect(guest.rx().receive() == [1])
    let late = try TestPort(engine, "b{1", memoryID: id)
    #expect(late.registration.memoryID == id)
    guest.close()
    late.close()
    #expect(throws: NetmapError.self) { try TestPort(engine, "b{1", memoryID: id) }
  }

  @Test("numbers of regions go up and are not used again at once")
  func numbers() throws {
    var last: UInt16 = 1
    for _ in 0..<5 {
      let port = try TestPort(engine, "a{1", hints: .slots(2))
      #expect(port.registration.memoryID > last)
      last = port.registration.memoryID
      port.close()
    }
  }

  @Test("buffers that an application lost come back when the region is idle")
  func leaked() throws {
    let first = try TestPort(engine, "fake0", extraBuffers: 10)
    let region = try #require(interfaces["fake0"].region)
    first.interface.extraBuffersHead = 0
    first.tx()[0].bufferIndex = 0
    let beside = try TestPort(engine, "fake1")
    first.close()
    let inUse = region.layout.buffers.count - 2 - region.freeCounts.buffers
    #expect(inUse == 16 + 11, "two rings of eight, and the lost ones")
    beside.close()
    #expect(region.freeCounts.buffers == region.layout.buffers.count - 2)
    #expect(region.freeCounts.rings == region.layout.rings.count)
  }

  @Test("rings are made at their first bind and freed when the last of their pair goes")
  func ringLifetime() throws {
    let keeper = try TestPort(engine, "fake1", flags: [.transmitOnly, .receiveOnly])
    let all = try TestPort(engine, "fake0")
    let region = try #require(interfaces["fake0"].region)
    let one = try TestPort(engine, "fake0", .oneHardware(1), flags: .transmitOnly)
    all.tx(1).send([1])
    #expect(region.freeCounts.rings == region.layout.rings.count - 4)
    all.close()
    #expect(region.freeCounts.rings == region.layout.rings.count - 2)
    #expect(one.tx().head == 1, "the shared ring goes on")
    let again = try TestPort(engine, "fake0")
    #expect(again.tx(1).head == 1)
    #expect(again.tx(0).head == 0)
    one.close()
    again.close()
    #expect(region.freeCounts.rings == region.layout.rings.count)
    #expect(region.freeCounts.buffers == region.layout.buffers.count - 2)
    _ = keeper
  }
}

@Suite("Interfaces: the data half")
struct InterfaceDataTests {
  let interfaces = FakeInterfaces.probed(.fake)
  let engine: Engine
  var fake: FakeInterface { interfaces["fake0"] }

  init() throws {
    engine = try Engine(interfaces: interfaces)
  }

  @Test("each ring reaches the pair it belongs to, host rings too")
  func pairs() throws {
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    // Transmit rings 0, 1, 2 are pairs 0, 1, 2 and ring 3 is host pair 0;
    // receive rings 0, 1 are pairs 0, 1 and rings 2, 3 are the host pairs.
    for index in 0..<4 { port.tx(index).send([UInt64(10 + index)]) }
    #expect((0..<4).map { port.rx($0).receive() } == [[10], [11], [13], []])
  }

  @Test("packets loop, longer than the ring is, in order")
  func loop() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(1))
    var (sent, expected): (UInt64, UInt64) = (0, 0)
    for _ in 0..<50 {
      port.tx().send(sent..<(sent + 5))
      sent += 5
      for number in port.rx().receive() {
        #expect(number == expected)
        expected += 1
      }
    }
    #expect(sent == expected)
    #expect(port.tx().counters.packets == sent)
    #expect(port.rx().counters.packets == sent)
  }

  @Test("syncs say what was asked for")
  func flags() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    port.tx().sync(.forceReclaim)
    port.rx().sync(.forceRead)
    _ = port.attached.scan([.receive, .transmit])
    #expect(fake.pairs[0].flagsSeen.prefix(2) == [.forceReclaim, .forceRead])
    #expect(fake.pairs[0].flagsSeen.dropFirst(2).allSatisfy { $0 == [] })
  }

  @Test(
    "a slot that names no buffer sends buffer 0 and is counted",
    arguments: [0, 1, 16_384, .max] as [UInt32])
  func badIndex(index: UInt32) throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    tx.setPayload(0, 0xbad)
    tx.put([1, 2, 3])
    tx[1].bufferIndex = index
    #expect(tx.sync() == .done)
    #expect(rx.receive() == [1, 0xbad, 3])
    #expect(tx.counters.drops[.badBufferIndex] == 1)
    #expect(tx.counters.drops.total == 1)
    #expect(tx[1].bufferIndex == index, "the slot is the application's")
  }

  @Test("a buffer in two slots reaches the backend once")
  func duplicate() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    tx.put([1, 2])
    tx[1].bufferIndex = tx[0].bufferIndex
    tx.setPayload(0, 0xbad)
    tx.sync()
    #expect(rx.receive() == [1, 0xbad])
    #expect(tx.counters.drops[.badBufferIndex] == 1)
  }

  @Test("a buffer that the backend holds cannot be sent")
  func lentElsewhere() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    tx.put([1])
    tx.setPayload(0, 0xbad)
    tx[0].bufferIndex = rx[5].bufferIndex
    tx.sync()
    #expect(rx.receive() == [0xbad])
    #expect(tx.counters.drops[.badBufferIndex] == 1)
  }

  @Test(
    "a length beyond the buffer is cut there and counted",
    arguments: [(2048, 2048, 0), (2049, 2048, 1), (.max, 2048, 1), (0, 0, 0)]
      as [(UInt16, UInt16, UInt64)])
  func badLength(length: UInt16, received: UInt16, drops: UInt64) throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    port.tx().put([1])
    port.tx()[0].length = length
    port.tx().sync()
    port.rx().sync()
    #expect(port.rx()[0].length == received)
    #expect(port.tx().counters.drops[.badLength] == drops)
  }

  @Test(
    "a released receive slot that names no buffer, or one twice, gets buffer 0; the ring goes on")
  func badReceiveSlot() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    tx.send([1, 2, 3])
    rx.sync()
    rx[0].bufferIndex = .max
    rx[1].bufferIndex = rx[2].bufferIndex
    rx.move(to: 3)
    rx.sync()
    #expect(rx.counters.drops[.badBufferIndex] == 2)
    var expected: UInt64 = 10
    for _ in 0..<4 {
      tx.send(expected..<(expected + 5))
      rx.sync()
      for slot in 0..<rx.space {
        let place = (rx.head + slot) % rx.count
        // Where a buffer was lost the frame is in the sink.
        if rx[place].bufferIndex != 0 {
          #expect(rx.payload(rx[place].bufferIndex) == expected + UInt64(slot))
        }
      }
      rx.move(to: rx.tail)
      rx.sync()
      expected += 5
    }
  }

  @Test("what the application writes in a slot that it gave away is not believed")
  func slotsNotBelieved() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    rx.sync()
    let buffers = rx.bufferIndexes
    for slot in 0..<rx.count { rx[slot].bufferIndex = tx[1].bufferIndex }
    tx.send([1, 2])
    #expect(rx.receive() == [1, 2])
    #expect(Array(rx.bufferIndexes.prefix(2)) == Array(buffers.prefix(2)))
  }

  @Test("zero-copy: receive buffers swapped into a transmit ring leave, and come back")
  func zeroCopy() throws {
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let other = try TestPort(engine, "fake0", .oneHardware(1))
    port.tx().send([1, 2, 3])
    let (from, to) = (port.rx(), other.tx())
    from.sync()
    while from.head != from.tail {
      let (source, target) = (from.head, to.head)
      (from[source].bufferIndex, to[target].bufferIndex) =
        (to[target].bufferIndex, from[source].bufferIndex)
      to[target].length = from[source].length
      from[source].flags.insert(.bufferChanged)
      to[target].flags.insert(.bufferChanged)
      from.move(to: from.next(source))
      to.move(to: to.next(target))
    }
    from.sync()
    to.sync()
    #expect(other.rx().receive() == [1, 2, 3])
    #expect(from.counters.drops.total == 0)
    port.close()
    other.close()
    #expect(probe.free == before)
  }

  @Test("deactivation gives every lent buffer back, so that all are freed")
  func lentComeBack() throws {
    let probe = try RegionProbe(engine, interfaces)
    let before = probe.free
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    port.tx(0).send([1, 2])
    port.rx(0).sync()
    #expect(fake.pairs[0].lent.count == 14)
    #expect(probe.region.ownership.state(fake.pairs[0].lent[0]) == .lent)
    port.close()
    #expect(probe.free == before)
  }

  @Test("a backend's failure is reported, shows nothing, and ends with its cause")
  func failure() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    tx.send([1])
    fake.pairs[0].fail(with: 5)
    tx.put([2])
    let tail = tx.tail
    #expect(tx.sync() == .failed)
    #expect(rx.sync() == .failed)
    #expect(tx.tail == tail)
    #expect(rx.tail == 0)
    #expect(tx.lockHolder == 0)
    #expect(port.attached.scan(.receive) == .error)
    #expect(port.attached.scan(.transmit).contains(.error))
    fake.pairs[0].fail(with: 0)
    tx.sync()
    #expect(rx.receive() == [1, 2])
  }

  @Test("rings of an interface that has gone fail, without asking the backend")
  func stopped() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    for ring in [port.tx(), port.rx()] {
      ring.state.insert(.stopped)
      #expect(ring.sync() == .failed)
    }
    #expect(fake.pairs[0].flagsSeen.isEmpty)
    #expect(port.attached.scan(.receive).contains(.error))
  }

  @Test("a broken ring is reset without the backend seeing it; receiving goes on")
  func reset() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    let (tx, rx) = (port.tx(), port.rx())
    tx.send([1])
    tx.head = 99
    let syncs = fake.pairs[0].flagsSeen.count
    #expect(tx.sync() == .reset)
    #expect(fake.pairs[0].flagsSeen.count == syncs)
    rx.cur = 9
    #expect(rx.sync() == .reset)
    #expect(rx.visible == [1])
  }
}
