import NetmapCore
import Testing

@Suite("Pipes: allocating and freeing objects")
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

  @Test("every buffer is freed once, wherever it is when the pipe closes", arguments: 0..<8)
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

  @Test("a base created for a pipe has room for the requested extra buffers")
  func roomForExtraBuffers() throws {
    let port = try TestPort(Engine(), "a{1", hints: .slots(4), extraBuffers: 20_000)
    #expect(port.registration.extraBuffers == 20_000)
  }

  @Test("when buffers run out, ENOMEM says what is missing, and nothing stays allocated")
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

  @Test("when an open fails halfway, its rings are freed even while the other end is open")
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
