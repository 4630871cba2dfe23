import NetmapCore
import NetmapTestSupport
import Testing

/// Monitors without copies: `/z`, `NR_ZCOPY_MON`.
@Suite("Monitors without copies")
struct ExchangingMonitorTests {
  /// The packets that have arrived, with their buffers and flags, without giving them back.
  private static func look(_ ring: TestRing) -> [(number: UInt64, slot: Slot)] {
    ring.sync()
    var (result, index): ([(UInt64, Slot)], UInt32) = ([], ring.head)
    while index != ring.tail {
      result.append((ring.payload(ring[index].bufferIndex), ring[index]))
      index = ring.next(index)
    }
    return result
  }

  @Test("a transmit ring's buffers go to the monitor when they come back from the receiver")
  func transmit() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    #expect(monitor.registration.memoryID == pipe.master.registration.memoryID)
    #expect(monitor.registration.name.rawValue == "a{1/zrt#1")
    let sent = (0..<3).map { tx[$0].bufferIndex }
    let own = (0..<3).map { monitor.rx()[$0].bufferIndex }
    tx.send([1, 2, 3])
    #expect(Self.look(monitor.rx()).isEmpty)
    #expect(rx.receive() == [1, 2, 3])
    #expect(Self.look(monitor.rx()).isEmpty, "the sender has not synced")
    tx.sync()
    let seen = Self.look(monitor.rx())
    #expect(seen.map(\.number) == [1, 2, 3])
    #expect(seen.map(\.slot.bufferIndex) == sent)
    #expect(seen.allSatisfy { $0.slot.flags == [.monitoredTransmit, .bufferChanged] })
    #expect(seen.allSatisfy { $0.slot.length == 60 })
    #expect((0..<3).map { tx[$0].bufferIndex } == own)
    #expect((0..<3).allSatisfy { tx[$0].flags.contains(.bufferChanged) })
    #expect(monitor.rx().counters.packets == 3 && monitor.rx().counters.bytes == 180)
    #expect(pipe.engine.check().findings.isEmpty)
  }

  @Test("a receive ring's buffers go to the monitor when the application releases them")
  func receive() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a}1", flags: .zeroCopyMonitor)
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send([1, 2, 3])
    rx.sync()
    #expect(rx.visible == [1, 2, 3])
    #expect(Self.look(monitor.rx()).isEmpty, "the application has released nothing")
    let received = (0..<3).map { rx[$0].bufferIndex }
    let own = (0..<3).map { monitor.rx()[$0].bufferIndex }
    // It sees what the application has made of the packet.
    rx.setPayload(rx[1].bufferIndex, 7)
    rx.move(to: 2)
    rx.sync()
    let seen = Self.look(monitor.rx())
    #expect(seen.map(\.number) == [1, 7])
    #expect(seen.map(\.slot.bufferIndex) == Array(received.prefix(2)))
    #expect(seen.allSatisfy { $0.slot.flags == .bufferChanged })
    rx.move(to: 3)
    rx.sync()
    #expect(monitor.rx().receive() == [1, 7, 3])
    tx.sync()
    #expect((0..<3).map { tx[$0].bufferIndex } == own, "the sender has the monitor's buffers")
    #expect((0..<3).allSatisfy { tx[$0].flags.contains(.bufferChanged) })
    #expect(pipe.engine.check().findings.isEmpty)
  }

  @Test("a full monitor gets the last packets that fit, whole ones, and the port does not wait")
  func full() throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor, hints: .slots(4))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    tx.send(1...5)
    #expect(rx.receive() == Array(1...5))
    tx.sync()
    #expect(Self.look(monitor.rx()).map(\.number) == [3, 4, 5])
    #expect(monitor.rx().counters.drops[.ringFull] == 2)
    for round in 0..<10 as Range<UInt64> {
      tx.send([round])
      #expect(rx.receive() == [round])
      tx.sync()
    }
    #expect(monitor.rx().counters.drops[.ringFull] == 12)
    #expect(tx.counters.drops.total == 0)
    #expect(monitor.rx().receive() == [3, 4, 5])
    // Two packets of two slots: there is room for three slots, and so for one packet.
    tx.put(6...9)
    for slot in [4, 2] as [UInt32] {
      tx[(tx.head + tx.count - slot) % tx.count].flags.insert(.moreFragments)
    }
    tx.sync()
    #expect(rx.receive() == Array(6...9))
    tx.sync()
    #expect(monitor.rx().receive() == [8, 9])
    #expect(pipe.engine.check().findings.isEmpty)
  }

  @Test("copy monitors beside it get the packets before, and each gets all")
  func besideCopies() throws {
    let pipe = try TestPipe(.slots(16))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let copy = try TestPort(pipe.engine, "a{1", flags: .monitorTransmit)
    let zero = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    let received = try TestPort(pipe.engine, "a{1", flags: .monitorReceive)
    tx.send([1, 2])
    #expect(copy.rx().receive() == [1, 2])
    #expect(zero.rx().receive().isEmpty)
    #expect(rx.receive() == [1, 2])
    pipe.slave.tx().send([3])
    #expect(received.rx().receive() == [3])
    #expect(pipe.master.rx().receive() == [3])
    tx.sync()
    #expect(zero.rx().receive() == [3, 1, 2], "in the order of the syncs")
    #expect(pipe.engine.check().findings.isEmpty)
  }

  @Test(
    "the second monitor gets what the first one has released, with its mark, and stays when the first goes"
  )
  func chain() throws {
    let pipe = try TestPipe(.slots(16))
    let (tx, rx) = (pipe.master.tx(), pipe.slave.rx())
    let monitors = try (0..<3).map { _ in
      try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    }
    func pass(_ number: UInt64) {
      tx.send([number])
      #expect(rx.receive() == [number])
      tx.sync()
    }
    pass(1)
    #expect(Self.look(monitors[1].rx()).isEmpty)
    #expect(monitors[0].rx().receive() == [1])
    let seen = Self.look(monitors[1].rx())
    #expect(seen.map(\.number) == [1])
    #expect(seen.first?.slot.flags.contains(.monitoredTransmit) == true)
    pipe.slave.tx().send([2])
    #expect(pipe.master.rx().receive() == [2])
    #expect(monitors[0].rx().receive() == [2])
    #expect(Self.look(monitors[1].rx()).last?.slot.flags == .bufferChanged)
    #expect(monitors[1].rx().receive() == [1, 2])
    #expect(monitors[2].rx().receive() == [1, 2])
    monitors[1].close()
    pass(3)
    #expect(monitors[0].rx().receive() == [3])
    #expect(monitors[2].rx().receive() == [3])
    monitors[0].close()
    pass(4)
    #expect(monitors[2].rx().receive() == [4])
    monitors[2].close()
    pass(5)
    #expect(tx.lock(pipe.master.tag), "no monitor is left")
    tx.unlock()
    #expect(pipe.engine.check().findings.isEmpty)
  }

  @Test("interfaces: both directions, host rings, and packets that a backend cannot send yet")
  func interface() throws {
    let interfaces = FakeInterfaces()
    let engine = try Engine(interfaces: interfaces)
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    let monitor = try TestPort(engine, "fake0", .hardwareAndHost, flags: .zeroCopyMonitor)
    port.tx(1).send([2])
    #expect(monitor.rx(1).receive() == [2], "sent at once")
    #expect(port.rx(1).receive() == [2])
    #expect(monitor.rx(1).receive() == [2], "and released")
    port.tx(3).send([3])
    #expect(port.rx(2).receive() == [3])
    #expect(monitor.rx(3).receive() == [3, 3], "the first pair of host rings")
    interfaces["fake0"].pairs[0].fail(with: 5)
    port.tx(0).put([4])
    #expect(port.tx(0).sync() == .failed)
    #expect(monitor.rx(0).receive().isEmpty)
    interfaces["fake0"].pairs[0].fail(with: 0)
    #expect(port.tx(0).sync() == .done)
    #expect(port.rx(0).receive() == [4])
    #expect(monitor.rx(0).receive() == [4, 4])
    for round in 0..<100 as Range<UInt64> {
      port.tx(0).send([round])
      #expect(port.rx(0).receive().last == round)
      #expect(monitor.rx(0).receive().suffix(2) == [round, round])
    }
    #expect(port.tx(0).counters.drops.total == 0 && port.rx(0).counters.drops.total == 0)
    #expect(engine.check().findings.isEmpty)
    port.close()
    #expect(monitor.rx(0).sync() == .failed)
    #expect(engine.check().findings.isEmpty)
    monitor.close()
    #expect(engine.check().findings.isEmpty)
    #expect(interfaces["fake0"].region?.takenBuffers.isEmpty == true)
  }

  @Test("a packet that transparent mode passes on is passed on before the monitor gets its buffer")
  func transparentMode() throws {
    let engine = try Engine(interfaces: FakeInterfaces())
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    let monitor = try TestPort(engine, "fake0", flags: .zeroCopyMonitor)
    let ring = port.rx(0)
    unsafe ring.mapped.ring.forwardsReleased = true
    port.tx(0).send([1, 2])
    ring.sync()
    #expect(ring.visible == [1, 2])
    ring[ring.head].flags.insert(.forward)
    ring.move(to: ring.tail)
    ring.sync()
    #expect(port.rx(2).receive() == [1], "the first host receive ring")
    #expect(monitor.rx(0).receive() == [1, 2, 1, 2], "sent, and received")
    #expect(ring.counters.drops.total == 0)
    #expect(engine.check().findings.isEmpty)
  }

  @Test("whichever goes first, port or monitor, every buffer goes back", arguments: [false, true])
  func order(monitorFirst: Bool) throws {
    let pipe = try TestPipe(.slots(16))
    let monitor = try TestPort(pipe.engine, "a{1", flags: .zeroCopyMonitor)
    let keeper = try TestPort(pipe.engine, "a{2", hints: .slots(16))
    let before = keeper.registration.region
    pipe.master.tx().send([1, 2, 3])
    #expect(pipe.slave.rx().receive() == [1, 2, 3])
    pipe.master.tx().sync()
    if monitorFirst { monitor.close() }
    pipe.master.close()
    #expect(pipe.engine.check().findings.isEmpty)
    pipe.slave.close()
    #expect(pipe.engine.check().findings.isEmpty)
    if !monitorFirst {
      #expect(monitor.rx().sync() == .failed)
      #expect(monitor.rx().visible == [1, 2, 3], "what it has stays readable")
      monitor.close()
    }
    let report = pipe.engine.check()
    #expect(report.findings.isEmpty)
    #expect(report.buffers == 32, "those of the other pipe")
    #expect(before.byteCount > 0)
  }

  @Test("ports that no program has open, offsets, and too many are refused")
  func refusals() throws {
    let engine = try Engine()
    let port = try TestPort(engine, "vale0:a")
    func code(_ name: String, offsets: OffsetsOption? = nil) -> NetmapError.Code? {
      do {
        _ = try TestPort(engine, name, flags: .zeroCopyMonitor, offsets: offsets)
        return nil
      } catch {
        return (error as? NetmapError)?.code
      }
    }
    #expect(code("vale0:b") == .invalidArgument)
    #expect(code("a{1") == .invalidArgument)
    let pipe = try TestPipe(.slots(16), engine: engine)
    #expect(code("a{1", offsets: OffsetsOption(max: 64, initial: 0)) == .unsupported)
    let monitors = try (0..<64).map { _ in
      try TestPort(engine, "a{1", flags: .zeroCopyMonitor)
    }
    #expect(code("a{1") == .outOfMemory, "64 monitors of a port")
    for monitor in monitors { monitor.close() }
    #expect(engine.check().findings.isEmpty)
    withExtendedLifetime((port, pipe)) {}
  }

  @Test("switch ports: what is released, and what is sent with the sync that sends it")
  func switchPort() throws {
    let engine = try Engine()
    let (a, b) = (try TestPort(engine, "vale0:a"), try TestPort(engine, "vale0:b"))
    let monitor = try TestPort(engine, "vale0:a", flags: .zeroCopyMonitor)
    let second = try TestPort(engine, "vale0:a", flags: .zeroCopyMonitor)
    // To all stations.
    let frame = UInt64.max
    b.tx().send([frame, frame])
    a.rx().sync()
    #expect(a.rx().visible == [frame, frame])
    #expect(monitor.rx().receive().isEmpty)
    a.rx().move(to: a.rx().next(a.rx().head))
    a.rx().sync()
    #expect(monitor.rx().receive() == [frame])
    #expect(second.rx().receive() == [frame])
    let buffers = (0..<1000).map { _ in
      let buffer = a.tx()[a.tx().head].bufferIndex
      a.tx().send([frame])
      let seen = Self.look(monitor.rx())
      #expect(seen.count == 1 && seen[0].slot.bufferIndex == buffer)
      #expect(seen[0].slot.flags == [.monitoredTransmit, .bufferChanged])
      #expect(monitor.rx().receive() == [frame] && second.rx().receive() == [frame])
      #expect(b.rx().receive() == [frame])
      b.tx().send([frame])
      _ = a.rx().receive()
      #expect(monitor.rx().receive().last == frame && second.rx().receive().last == frame)
      return buffer
    }
    #expect(Set(buffers).count > 100)
    #expect(engine.check().findings.isEmpty)
    b.close()
    a.close()
    #expect(engine.check().findings.isEmpty)
    monitor.close()
    second.close()
    #expect(engine.check().findings.isEmpty)
  }
}
