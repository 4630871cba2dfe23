import NetmapCore
import Testing

@Suite("Pipes: an end that is not there")
struct PipeAbsenceTests {
  @Test("without a receiver n-1 packets can be sent, then the ring is full; nothing is lost")
  func backlog() throws {
    let engine = try Engine()
    let master = try TestPort(engine, "a{1", hints: .slots(8))
    let tx = master.tx()
    for number: UInt64 in 0..<7 { tx.send(number) }
    for _ in 0..<3 {
      tx.sync()
      #expect(tx.space == 0)
      #expect(master.attached.scan(.transmit).isEmpty)
    }
    let slave = try TestPort(engine, "a}1")
    #expect(slave.rx().receive() == Array(0..<7))
    tx.sync()
    #expect(tx.space == 7)
  }

  @Test("an end that closes is no error for the other: data in both directions stays")
  func peerCloses() throws {
    let pipe = try TestPipe(.slots(8))
    pipe.slave.tx().send([1, 2, 3])
    pipe.master.tx().send([4, 5])
    pipe.slave.close()
    #expect(pipe.master.rx().receive() == [1, 2, 3])
    pipe.master.tx().send([6, 7, 8, 9, 10])
    #expect(pipe.master.tx().space == 0)
    #expect(pipe.master.attached.scan([.receive, .transmit]).isEmpty)
    let again = try TestPort(pipe.engine, "a}1")
    #expect(again.rx().receive() == [4, 5, 6, 7, 8, 9, 10])
    again.tx().send([11])
    #expect(pipe.master.rx().receive() == [11])
  }

  @Test("an end that comes back finds head, cur and tail where it left them")
  func exactPositions() throws {
    let pipe = try TestPipe(.slots(8))
    let (tx, rx) = (pipe.slave.tx(), pipe.slave.rx())
    pipe.master.tx().send([0, 1, 2, 3])
    rx.sync()
    rx.head = 1
    rx.cur = 3
    rx.sync()
    tx.send([10, 11])
    // Written, not synced.
    tx.put([12])
    tx.cur = 5
    let before = [rx.head, rx.cur, rx.tail, tx.head, tx.cur, tx.tail]
    let slots = rx.slots + tx.slots
    pipe.slave.close()
    pipe.master.tx().send([4])
    let again = try TestPort(pipe.engine, "a}1")
    let (tx2, rx2) = (again.tx(), again.rx())
    #expect([rx2.head, rx2.cur, rx2.tail, tx2.head, tx2.cur, tx2.tail] == before)
    #expect(rx2.slots[1..<4] == slots[1..<4])
    #expect(tx2.slots == Array(slots[8...]))
    rx2.sync()
    tx2.sync()
    #expect(rx2.visible == [1, 2, 3, 4])
    #expect(pipe.master.rx().receive() == [10, 11, 12])
  }

  @Test("when both have closed the pipe is gone, and with it the backlog")
  func bothClosed() throws {
    let engine = try Engine()
    var pipe: TestPipe? = try TestPipe(.slots(8), engine: engine)
    pipe?.master.tx().send([1, 2])
    pipe?.slave.close()
    pipe?.master.close()
    pipe = nil
    let fresh = try TestPipe(.slots(16), engine: engine)
    #expect(fresh.slave.rx().receive().isEmpty)
    #expect([fresh.master.tx().head, fresh.master.tx().tail] == [0, 15])
  }

  @Test("a binding closed twice is closed once")
  func closeTwice() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1", hints: .slots(4))
    let second = try TestPort(engine, "a{1")
    engine.release(first.registration.id)
    engine.release(first.registration.id)
    #expect(engine.directory.entries.map(\.bindings) == [1])
    second.tx().send([1])
    _ = try TestPort(engine, "a}1", flags: .exclusive)
  }
}

@Suite("Pipes: several bindings on one end")
struct PipeSharingTests {
  @Test("they share the rings, and each sees what is there now")
  func liveState() throws {
    let pipe = try TestPipe(.slots(8))
    pipe.master.tx().send([1, 2, 3])
    pipe.slave.rx().sync()
    pipe.slave.rx().move(to: 1)
    pipe.slave.rx().sync()
    let second = try TestPort(pipe.engine, "a}1")
    #expect(second.rx().offset == pipe.slave.rx().offset)
    #expect([second.rx().head, second.rx().cur, second.rx().tail] == [1, 1, 3])
    #expect(second.rx().visible == [2, 3])
    second.rx().move(to: 3)
    second.rx().sync()
    #expect(pipe.slave.rx().head == 3)
    let sender = try TestPort(pipe.engine, "a{1")
    #expect([sender.tx().head, sender.tx().tail] == [3, 7])
    #expect(sender.interface.offset != pipe.master.interface.offset, "a netmap_if of its own")
  }

  @Test("an end lives as long as its last binding")
  func lastBinding() throws {
    let pipe = try TestPipe(.slots(8))
    let second = try TestPort(pipe.engine, "a{1")
    pipe.master.close()
    second.tx().send([1])
    #expect(pipe.slave.rx().receive() == [1])
  }

  @Test("exclusive use is per ring, per direction, and per end")
  func exclusive() throws {
    let engine = try Engine()
    let hints = RingGeometryHints(
      transmitSlots: 4, receiveSlots: 4, transmitRings: 2, receiveRings: 2)
    let first = try TestPort(engine, "a{1", .oneHardware(0), flags: .exclusive, hints: hints)
    for (selection, flags, what) in [
      (.allHardware, [], "all rings"), (.oneHardware(0), [], "the same ring"),
      (.oneHardware(0), .exclusive, "the same ring, exclusively"),
      (.oneHardware(0), .receiveOnly, "its receive ring"),
    ] as [(RingSelection, BindingFlags, String)] {
      let error = #expect(throws: NetmapError.self, "\(what)") {
        try TestPort(engine, "a{1", selection, flags: flags)
      }
      #expect(error?.code == .busy)
      #expect(error?.description.contains("a{1") == true)
      #expect(error?.reason.contains("ring 0") == true)
      #expect(error?.remedy.isEmpty == false)
    }
    _ = try TestPort(engine, "a{1", .oneHardware(1), flags: .exclusive)
    _ = try TestPort(engine, "a{1", flags: [.transmitOnly, .receiveOnly])
    // The other end is another matter.
    _ = try TestPort(engine, "a}1", flags: .exclusive)
    first.close()
    _ = try TestPort(engine, "a{1", .oneHardware(0))
  }

  @Test("exclusive use of a ring that somebody has is refused")
  func exclusiveLate() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "a{1", flags: .transmitOnly, hints: .slots(4))
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "a{1", flags: .exclusive)
    }
    #expect(error?.code == .busy)
    _ = try TestPort(engine, "a{1", flags: [.exclusive, .receiveOnly])
    first.close()
    _ = try TestPort(engine, "a{1", flags: .exclusive)
  }

  @Test("the end of a shared binding does not end another's exclusive use")
  func exclusiveStays() throws {
    let engine = try Engine()
    let hints = RingGeometryHints(
      transmitSlots: 4, receiveSlots: 4, transmitRings: 2, receiveRings: 2)
    let shared = try TestPort(engine, "a{1", .oneHardware(1), hints: hints)
    let owner = try TestPort(engine, "a{1", .oneHardware(0), flags: .exclusive)
    shared.close()
    #expect(throws: NetmapError.self) { try TestPort(engine, "a{1", .oneHardware(0)) }
    _ = owner
  }

  @Test("a binding that was refused leaves nothing behind")
  func refusedLeavesNothing() throws {
    let interfaces = FakeInterfaces.probed()
    let engine = try Engine(interfaces: interfaces)
    let probe = try RegionProbe(engine, interfaces)
    let owner = try TestPort(engine, "fake0{1", flags: .exclusive, hints: .slots(4))
    let before = probe.free
    let listed = engine.directory.entries
    for _ in 0..<3 {
      #expect(throws: NetmapError.self) { try TestPort(engine, "fake0{1", extraBuffers: 5) }
      #expect(throws: NetmapError.self) {
        try TestPort(engine, "fake0}1", .oneHardware(7), extraBuffers: 5)
      }
      #expect(throws: NetmapError.self) {
        try TestPort(engine, "fake0}1", offsets: OffsetsOption(max: 5000, initial: 0))
      }
    }
    #expect(probe.free == before)
    #expect(engine.directory.entries == listed)
    _ = owner
  }

  @Test("a port may be open 256 times, once more is ENOMEM")
  func bindingLimit() throws {
    let engine = try Engine()
    let first = try TestPort(
      engine, "a{1", flags: [.transmitOnly, .receiveOnly], hints: .slots(2))
    var ports = [first]
    while ports.count < 100 {
      ports.append(try TestPort(engine, "a{1", flags: [.transmitOnly, .receiveOnly]))
    }
    // The region's interface objects run out first here; either way it is ENOMEM, and not a trap.
    let error = #expect(throws: NetmapError.self) {
      for _ in 0..<200 {
        ports.append(try TestPort(engine, "a{1", flags: [.transmitOnly, .receiveOnly]))
      }
    }
    #expect(error?.code == .outOfMemory)
    #expect(error?.description.contains("a{1") == true)
    #expect(error?.remedy.contains("close") == true)
    ports.removeLast().close()
    ports.append(try TestPort(engine, "a{1"))
  }
}

@Suite("Pipes: what they take and give back")
struct PipeMemoryTests {
  struct Setup {
    let interfaces = FakeInterfaces.probed()
    let engine: Engine
    let probe: RegionProbe

    init() throws {
      engine = try Engine(interfaces: interfaces)
      probe = try RegionProbe(engine, interfaces)
    }
  }

  @Test("one set of buffers for each pair of rings, one interface object for each binding")
  func taken() throws {
    let setup = try Setup()
    let before = setup.probe.free
    let hints = RingGeometryHints(
      transmitSlots: 16, receiveSlots: 8, transmitRings: 2, receiveRings: 1)
    let master = try TestPort(setup.engine, "fake0{1", hints: hints)
    var expected = before
    expected.interfaces -= 1
    expected.rings -= 6
    expected.buffers -= 2 * 16 + 8
    #expect(setup.probe.free == expected)
    let slave = try TestPort(setup.engine, "fake0}1", extraBuffers: 3)
    expected.interfaces -= 1
    expected.buffers -= 3
    #expect(setup.probe.free == expected)
    master.close()
    expected.interfaces += 1
    #expect(setup.probe.free == expected, "the rings stay until both ends have closed")
    slave.close()
    #expect(setup.probe.free == before)
  }

  @Test("both rings of a pair are made at the first bind of either")
  func partialBind() throws {
    let setup = try Setup()
    let before = setup.probe.free
    let hints = RingGeometryHints(
      transmitSlots: 16, receiveSlots: 8, transmitRings: 2, receiveRings: 2)
    let master = try TestPort(
      setup.engine, "fake0{1", .oneHardware(1), flags: .transmitOnly, hints: hints)
    #expect(setup.probe.free.rings == before.rings - 2)
    #expect(setup.probe.free.buffers == before.buffers - 16)
    let slave = try TestPort(setup.engine, "fake0}1")
    #expect(setup.probe.free.rings == before.rings - 8)
    #expect(setup.probe.free.buffers == before.buffers - 48)
    slave.close()
    master.close()
    #expect(setup.probe.free == before)
  }

  @Test("every buffer comes back once, wherever it is when the pipe ends", arguments: 0..<8)
  func freedOnce(round: Int) throws {
    let setup = try Setup()
    let before = setup.probe.free
    let master = try TestPort(setup.engine, "fake0{1", hints: .slots(6), extraBuffers: 2)
    let slave = try TestPort(setup.engine, "fake0}1", extraBuffers: 2)
    let (tx, rx) = (master.tx(), slave.rx())
    for number in 0..<round {
      tx.send([UInt64(number)])
      _ = rx.receive()
      tx.sync()
    }
    // Some with the receiver, some sent and not seen, some written and not sent.
    tx.send([1, 2])
    rx.sync()
    Self.swap(rx, rx.head, slave.interface)
    if round % 2 == 0 {
      rx.move(to: rx.next(rx.head))
      rx.sync()
    }
    tx.send([3])
    Self.swap(tx, tx.head, master.interface)
    tx.put([4])
    if round % 3 == 0 { slave.close() }
    master.close()
    slave.close()
    #expect(setup.probe.free == before)
  }

  /// Exchanges the buffer of a slot for the first of the extra buffers.
  static func swap(_ ring: TestRing, _ slot: UInt32, _ interface: TestInterface) {
    let spare = interface.extraBuffersHead
    let next = ring.payload(spare)
    let old = ring[slot].bufferIndex
    ring.setPayload(old, next & 0xffff_ffff)
    interface.extraBuffersHead = old
    ring[slot].bufferIndex = spare
    ring[slot].flags.insert(.bufferChanged)
  }

  @Test(
    "buffers exchanged between two pipes of one region are freed once, in either order of closing",
    arguments: [false, true])
  func exchangedBetweenPipes(otherFirst: Bool) throws {
    let setup = try Setup()
    let before = setup.probe.free
    let ports = try ["fake0{1", "fake0}1", "fake0{2", "fake0}2"].map {
      try TestPort(setup.engine, $0, hints: .slots(4))
    }
    ports[0].tx().send([1, 2])
    let (from, to) = (ports[1].rx(), ports[2].tx())
    from.sync()
    // Zero-copy forwarding.
    for slot: UInt32 in 0..<2 {
      (from[slot].bufferIndex, to[slot].bufferIndex) = (
        to[slot].bufferIndex, from[slot].bufferIndex
      )
    }
    from.move(to: 1)
    from.sync()
    to.move(to: 1)
    to.sync()
    #expect(ports[3].rx().receive() == [1])
    for port in otherFirst ? ports.reversed() : ports { port.close() }
    #expect(setup.probe.free == before)
  }

  @Test("extra buffers: the list in the netmap_if, as many as there are, freed with the binding")
  func extraBuffers() throws {
    let setup = try Setup()
    let before = setup.probe.free
    let port = try TestPort(setup.engine, "fake0{1", hints: .slots(4), extraBuffers: 5)
    #expect(port.registration.extraBuffers == 5)
    let list = ExtraBufferTests.list(setup.probe.region, port.interface.extraBuffersHead)
    #expect(list.count == 5)
    #expect(Set(list).isDisjoint(with: port.tx().bufferIndexes + port.rx().bufferIndexes))
    let greedy = try TestPort(setup.engine, "fake0}1", extraBuffers: 1_000_000)
    #expect(greedy.registration.extraBuffers == before.buffers - 8 - 5)
    #expect(setup.probe.free.buffers == 0)
    let poor = try TestPort(setup.engine, "fake0{1", extraBuffers: 3)
    #expect(poor.registration.extraBuffers == 0)
    #expect(poor.interface.extraBuffersHead == 0)
    for other in [port, greedy, poor] { other.close() }
    #expect(setup.probe.free == before)
    let none = try TestPort(setup.engine, "fake0{1", hints: .slots(4))
    #expect(none.interface.extraBuffersHead == 0)
  }

  @Test("a base made for a pipe has room for the extra buffers asked for")
  func roomForExtraBuffers() throws {
    let port = try TestPort(Engine(), "a{1", hints: .slots(4), extraBuffers: 20_000)
    #expect(port.registration.extraBuffers == 20_000)
  }

  @Test("out of buffers is ENOMEM, names what is missing, and leaves nothing behind")
  func exhausted() throws {
    let setup = try Setup()
    let greedy = try TestPort(setup.engine, "fake0{1", hints: .slots(4), extraBuffers: 1_000_000)
    let before = setup.probe.free
    let error = #expect(throws: NetmapError.self) {
      try TestPort(setup.engine, "fake0{2", hints: .slots(4))
    }
    #expect(error?.code == .outOfMemory)
    #expect(error?.subject == "fake0{2")
    #expect(error?.reason.contains("4 buffers") == true)
    #expect(error?.remedy.contains("buf_num") == true)
    #expect(setup.probe.free == before)
    _ = greedy
  }

  @Test("when an attempt fails half way, the rings it made are freed while the other end is open")
  func failureWithPeerOpen() throws {
    let setup = try Setup()
    let hints = RingGeometryHints(
      transmitSlots: 4, receiveSlots: 4, transmitRings: 3, receiveRings: 1)
    let slave = try TestPort(
      setup.engine, "fake0}1", .oneHardware(0), flags: .transmitOnly, hints: hints)
    // Room for one more ring pair of four buffers, not for three.
    let greedy = try TestPort(
      setup.engine, "fake0{9", hints: .slots(4),
      extraBuffers: setup.probe.free.buffers - 8 - 5)
    let before = setup.probe.free
    #expect(before.buffers == 5)
    #expect(throws: NetmapError.self) { try TestPort(setup.engine, "fake0{1") }
    #expect(setup.probe.free == before)
    greedy.close()
    let master = try TestPort(setup.engine, "fake0{1")
    slave.tx().send([1])
    #expect(master.rx().receive() == [1])
  }
}

@Suite("netmap_if")
struct InterfaceObjectTests {
  /// Hardware transmit, host transmit, hardware receive, host receive.
  private func expected(_ port: TestPort, _ rings: [TestRing?]) -> [Int] {
    rings.map { $0.map { $0.offset - port.interface.offset } ?? 0 }
  }

  @Test("ring_ofs: hardware and host transmit rings, then hardware and host receive rings")
  func order() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    let interface = port.interface
    #expect(interface.transmitRings == 3)
    #expect(interface.receiveRings == 2)
    #expect(interface.hostTransmitRings == 1)
    #expect(interface.hostReceiveRings == 2)
    #expect(
      interface.ringOffsets
        == expected(port, (0..<4).map { port.tx($0) } + (0..<4).map { port.rx($0) }))
    #expect(Set(interface.ringOffsets).count == 8)
  }

  @Test("rings that the binding does not hold are 0, even if somebody else holds them")
  func zeros() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let all = try TestPort(engine, "fake0", .hardwareAndHost)
    let one = try TestPort(engine, "fake0", .oneHardware(1))
    #expect(
      one.interface.ringOffsets
        == expected(one, [nil, one.tx(), nil, nil, nil, one.rx(), nil, nil]))
    let transmit = try TestPort(engine, "fake0", flags: .transmitOnly)
    #expect(
      transmit.interface.ringOffsets
        == expected(transmit, (0..<3).map { transmit.tx($0) } + [nil, nil, nil, nil, nil]))
    let host = try TestPort(engine, "fake0", .oneHost(1))
    #expect(
      host.interface.ringOffsets
        == expected(host, [nil, nil, nil, host.tx(), nil, nil, nil, host.rx()]))
    let none = try TestPort(engine, "fake0", flags: [.transmitOnly, .receiveOnly])
    #expect(none.interface.ringOffsets == Array(repeating: 0, count: 8))
    _ = all
  }

  @Test("a port without host rings shows one of each direction, at distance 0")
  func fakeHostRings() throws {
    let pipe = try TestPipe(
      RingGeometryHints(transmitSlots: 4, receiveSlots: 4, transmitRings: 2, receiveRings: 1))
    let interface = pipe.master.interface
    #expect(interface.hostTransmitRings == 1)
    #expect(interface.hostReceiveRings == 1)
    #expect(
      interface.ringOffsets
        == expected(
          pipe.master, [pipe.master.tx(0), pipe.master.tx(1), nil, pipe.master.rx(), nil]))
    #expect(pipe.master.registration.geometry.hostTransmitRings == 0)
  }

  @Test(
    "the name is cut after 15 bytes",
    arguments: [
      ("a{1", "a{1"), ("abcdefghijklm{1", "abcdefghijklm{1"),
      ("abcdefghijklmno{12", "abcdefghijklmno"),
    ])
  func name(asked: String, shown: String) throws {
    let port = try TestPort(Engine(), asked, hints: .slots(2))
    #expect(port.interface.name == shown)
    #expect(port.registration.name.rawValue == asked)
    #expect(port.interface.word(16) == 0, "ni_version")
  }

  @Test("NI_PRIV_MEM says whether the region is private")
  func privateMemory() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    #expect(try TestPort(engine, "a{1", hints: .slots(2)).interface.flags == 1)
    #expect(try TestPort(engine, "fake0").interface.flags == 0)
  }
}
