import NetmapCore
import Testing

@Suite("Looking at a port, as poll does")
struct PollScanTests {
  static func pipe(rings: UInt16 = 1, slots: UInt32 = 8) throws -> TestPipe {
    try TestPipe(
      RingGeometryHints(
        transmitSlots: slots, receiveSlots: slots, transmitRings: rings, receiveRings: rings))
  }

  @Test(
    "what is asked for is reported, and nothing else", arguments: [false, true], [false, true])
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
    "asking for input, or for nothing, also sends what is pending",
    arguments: [.receive, []] as [Readiness])
  func inputSends(wanted: Readiness) throws {
    let pipe = try Self.pipe(rings: 2)
    pipe.master.tx(0).put([1])
    pipe.master.tx(1).put([2])
    _ = pipe.master.mapped.scan(wanted)
    #expect(pipe.slave.rx(0).receive() == [1])
    #expect(pipe.slave.rx(1).receive() == [2])
  }

  @Test("unless the port was opened with NR_NO_TX_POLL; then only asking for output sends")
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

  @Test("asking for output alone never touches receive rings")
  func outputAlone() throws {
    let pipe = try Self.pipe()
    pipe.slave.tx().send([1])
    for _ in 0..<3 { _ = pipe.master.mapped.scan(.transmit) }
    #expect(pipe.master.rx().counters.syncs == 0)
    #expect(pipe.master.rx().tail == 0)
  }

  @Test("transmit rings with nothing to send are left alone when space is not asked for")
  func nothingPending() throws {
    let pipe = try Self.pipe(rings: 2)
    pipe.master.tx(1).put([1])
    _ = pipe.master.mapped.scan(.receive)
    #expect(pipe.master.tx(0).counters.syncs == 0)
    #expect(pipe.master.tx(1).counters.syncs == 1)
  }

  @Test("once space was found, later rings are synced only if they have something to send")
  func spaceFound() throws {
    let pipe = try Self.pipe(rings: 3)
    pipe.master.tx(2).put([1])
    #expect(pipe.master.mapped.scan(.transmit) == .transmit)
    #expect((0..<3).map { pipe.master.tx($0).counters.syncs } == [1, 0, 1])
    #expect(pipe.slave.rx(2).receive() == [1])
  }

  @Test("a direction that finds nothing is tried twice")
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
    #expect(pipe.slave.mapped.scan(.receive) == .receive, "as long as nobody takes them")
    rx.cur = 3
    #expect(pipe.slave.mapped.scan(.receive).isEmpty, "all seen, none released")
    #expect(rx.visible == [1, 2, 3])
    pipe.master.tx().send([4])
    #expect(pipe.slave.mapped.scan(.receive) == .receive, "more than that has come")
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

  @Test("every look releases and refreshes the receive rings, also if packets are visible already")
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

  @Test("a ring that had to be reset is an error, asked for or not; the others go on")
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

  @Test("a receive ring that had to be reset is synced anyway, and its packets are reported")
  func errorAndPackets() throws {
    let pipe = try Self.pipe()
    pipe.slave.tx().send([1])
    pipe.master.rx().cur = 99
    #expect(pipe.master.mapped.scan(.receive) == [.error, .receive])
    #expect(pipe.master.rx().visible == [1])
  }

  @Test("a ring that somebody is syncing is passed over")
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
