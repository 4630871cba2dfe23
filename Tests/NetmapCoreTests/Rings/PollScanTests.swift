import NetmapCore
import Testing

@Suite("Port scans, as poll does them")
struct PollScanTests {
  static func pipe(rings: UInt16 = 1, slots: UInt32 = 8) throws -> TestPipe {
    try TestPipe(
      RingGeometryHints(
        transmitSlots: slots, receiveSlots: slots, transmitRings: rings, receiveRings: rings))
  }

  @Test(
    "a scan reports only the directions that it is asked for", arguments: [false, true],
    [false, true])
  func truthTable(space: Bool, packets: Bool) throws {
    let pipe = try Self.pipe()
    if !space { pipe.master.tx().send(0..<7) }
    if packets { pipe.slave.tx().send([1]) }
    let transmit: Readiness = space ? .transmit : []
    let receive: Readiness = packets ? .receive : []
    #expect(pipe.master.mapped.scan(.receive) == receive)
    #expect(pipe.master.mapped.scan(.transmit) == transmit)
    #expect(pipe.master.mapped.scan([.receive, .transmit]) == receive.union(transmit))
    #expect(pipe.master.mapped.scan([]) == [])
  }

  @Test(
    "a scan for input, or for nothing, also sends pending packets",
    arguments: [.receive, []] as [Readiness])
  func inputSends(wanted: Readiness) throws {
    let pipe = try Self.pipe(rings: 2)
    pipe.master.tx(0).put([1])
    pipe.master.tx(1).put([2])
    _ = pipe.master.mapped.scan(wanted)
    #expect(pipe.slave.rx(0).receive() == [1])
    #expect(pipe.slave.rx(1).receive() == [2])
  }

  @Test("on a port opened with NR_NO_TX_POLL only a scan for output sends")
  func noTransmitPoll() throws {
    let engine = try Engine()
    let master = try TestPort(engine, "a{1", flags: .noTransmitPoll, hints: .slots(8))
    let slave = try TestPort(engine, "a}1")
    master.tx().put([1])
    _ = master.mapped.scan(.receive)
    _ = master.mapped.scan([])
    #expect(slave.rx().receive().isEmpty)
    #expect(master.tx().counters.syncs == 0)
    #expect(master.mapped.scan(.transmit) == .transmit)
    #expect(slave.rx().receive() == [1])
  }

  @Test("a scan for output alone never syncs receive rings")
  func outputAlone() throws {
    let pipe = try Self.pipe()
    pipe.slave.tx().send([1])
    for _ in 0..<3 { _ = pipe.master.mapped.scan(.transmit) }
    #expect(pipe.master.rx().counters.syncs == 0)
    #expect(pipe.master.rx().tail == 0)
  }

  @Test("a scan for input does not sync transmit rings with nothing to send")
  func nothingPending() throws {
    let pipe = try Self.pipe(rings: 2)
    pipe.master.tx(1).put([1])
    _ = pipe.master.mapped.scan(.receive)
    #expect(pipe.master.tx(0).counters.syncs == 0)
    #expect(pipe.master.tx(1).counters.syncs == 1)
  }

  @Test("once a scan has found space, it syncs later rings only if they have packets to send")
  func spaceFound() throws {
    let pipe = try Self.pipe(rings: 3)
    pipe.master.tx(2).put([1])
    #expect(pipe.master.mapped.scan(.transmit) == .transmit)
    #expect((0..<3).map { pipe.master.tx($0).counters.syncs } == [1, 0, 1])
    #expect(pipe.slave.rx(2).receive() == [1])
  }

  @Test("a scan that finds nothing in a direction tries it twice")
  func twoPasses() throws {
    let pipe = try Self.pipe()
    pipe.master.tx().send(0..<7)
    #expect(pipe.master.mapped.scan([.receive, .transmit]).isEmpty)
    #expect(pipe.master.rx().counters.syncs == 2)
    #expect(pipe.master.tx().counters.syncs == 3, "one for sending, two for looking")
  }

  @Test("input is ready while cur is not at tail; head does not matter")
  func readyByCur() throws {
    let pipe = try Self.pipe()
    let rx = pipe.slave.rx()
    pipe.master.tx().send([1, 2, 3])
    #expect(pipe.slave.mapped.scan(.receive) == .receive)
    #expect(pipe.slave.mapped.scan(.receive) == .receive, "until the packets are taken")
    rx.cur = 3
    #expect(pipe.slave.mapped.scan(.receive).isEmpty, "all seen, none released")
    #expect(rx.visible == [1, 2, 3])
    pipe.master.tx().send([4])
    #expect(pipe.slave.mapped.scan(.receive) == .receive, "a new packet has arrived")
    rx.head = 2
    #expect(pipe.slave.mapped.scan(.receive) == .receive)
    rx.cur = 4
    rx.head = 4
    #expect(pipe.slave.mapped.scan(.receive).isEmpty)
  }

  @Test("output is ready while cur is not at tail: cur at tail waits for more room")
  func waitForMoreRoom() throws {
    let pipe = try Self.pipe()
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send(0..<5)
    #expect(pipe.master.mapped.scan(.transmit) == .transmit)
    tx.cur = tx.tail
    #expect(pipe.master.mapped.scan(.transmit).isEmpty)
    #expect(tx.space == 2)
    rx.sync()
    rx.move(to: 1)
    rx.sync()
    #expect(pipe.master.mapped.scan(.transmit) == .transmit)
    #expect(tx.space == 3)
  }

  @Test("every scan syncs the receive rings, even if packets are already visible")
  func alwaysSyncs() throws {
    let pipe = try Self.pipe()
    pipe.master.tx().send([1, 2])
    _ = pipe.slave.mapped.scan(.receive)
    pipe.slave.rx().move(to: 1)
    pipe.master.tx().send([3])
    _ = pipe.slave.mapped.scan(.receive)
    #expect(pipe.slave.rx().position == 1)
    #expect(pipe.slave.rx().visible == [2, 3])
  }

  @Test("every scan reports the reset of a ring as an error; the other rings go on")
  func error() throws {
    let pipe = try Self.pipe(rings: 2)
    pipe.slave.tx(1).send([1])
    pipe.master.rx(0).head = 99
    #expect(pipe.master.mapped.scan(.receive) == [.error, .receive])
    #expect(pipe.master.mapped.scan(.receive) == .receive)
    pipe.master.tx(0).head = 99
    #expect(pipe.master.mapped.scan([]) == .error)
    #expect(pipe.master.mapped.scan([]) == [])
  }

  @Test("a receive ring is synced even after a reset, and its packets are reported")
  func errorAndPackets() throws {
    let pipe = try Self.pipe()
    pipe.slave.tx().send([1])
    pipe.master.rx().cur = 99
    #expect(pipe.master.mapped.scan(.receive) == [.error, .receive])
    #expect(pipe.master.rx().visible == [1])
  }

  @Test("a scan skips a ring that another client is syncing")
  func busy() throws {
    let pipe = try Self.pipe(rings: 2)
    pipe.slave.tx(0).send([1])
    pipe.slave.tx(1).send([2])
    #expect(pipe.master.rx(0).lock(pipe.slave.tag))
    #expect(pipe.master.mapped.scan(.receive) == .receive)
    #expect(pipe.master.rx(0).tail == 0)
    #expect(pipe.master.rx(1).visible == [2])
    pipe.master.rx(0).unlock()
  }

  @Test(
    "a direction without rings is never ready",
    arguments: [BindingFlags.transmitOnly, .receiveOnly])
  func noRings(flags: BindingFlags) throws {
    let engine = try Engine()
    let peer = try TestPort(engine, "a}1", hints: .slots(4))
    peer.tx().send([1])
    let port = try TestPort(engine, "a{1", flags: flags)
    #expect(
      port.mapped.scan([.receive, .transmit]) == (flags == .transmitOnly ? .transmit : .receive))
  }
}
