import NetmapCore
import Testing

@Suite("Interfaces: the ring driver")
struct InterfaceDataTests {
  let interfaces = FakeInterfaces.probed(.fake)
  let engine: Engine
  var fake: FakeInterface { interfaces["fake0"] }

  init() throws {
    engine = try Engine(interfaces: interfaces)
  }

  @Test("each ring, host rings included, uses the pair it belongs to")
  func pairs() throws {
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    // Transmit rings 0, 1, 2 are pairs 0, 1, 2 and ring 3 is host pair 0;
    // receive rings 0, 1 are pairs 0, 1 and rings 2, 3 are the host pairs.
    for index in 0..<4 { port.tx(index).send([UInt64(10 + index)]) }
    #expect((0..<4).map { port.rx($0).receive() } == [[10], [11], [13], []])
  }

  @Test("packets come back in order, many times around the ring")
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

  @Test("the backend gets the flags of each sync")
  func flags() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    port.tx().sync(.forceReclaim)
    port.rx().sync(.forceRead)
    _ = port.mapped.scan([.receive, .transmit])
    #expect(fake.pairs[0].flagsSeen.prefix(2) == [.forceReclaim, .forceRead])
    #expect(fake.pairs[0].flagsSeen.dropFirst(2).allSatisfy { $0 == [] })
  }

  @Test(
    "a slot with an invalid buffer index sends buffer 0, and is counted",
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
    #expect(tx[1].bufferIndex == index, "the engine does not change the application's slot")
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
    "a length beyond the end of the buffer is cut to fit, and counted",
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
    "a released receive slot with an invalid or duplicate index gets buffer 0; the ring goes on")
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
        // A slot that lost its buffer has buffer 0, which all such frames share.
        if rx[place].bufferIndex != 0 {
          #expect(rx.payload(rx[place].bufferIndex) == expected + UInt64(slot))
        }
      }
      rx.move(to: rx.tail)
      rx.sync()
      expected += 5
    }
  }

  @Test("the engine ignores what an application writes into slots that it has given away")
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

  @Test("zero-copy: receive buffers swapped into a transmit ring are sent, and come back")
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

  @Test("deactivation returns every lent buffer, so that all are freed")
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

  @Test("while the backend fails, syncs report it and show no packets; afterwards they work again")
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
    #expect(unsafe SyncPath.transmit(port.mapped.syncPath) == .failed)
    #expect(unsafe SyncPath.receive(port.mapped.syncPath) == .failed)
    #expect(port.mapped.scan(.receive) == .error)
    #expect(port.mapped.scan(.transmit).contains(.error))
    fake.pairs[0].fail(with: 0)
    tx.sync()
    #expect(rx.receive() == [1, 2])
  }

  @Test("syncs of a removed interface's rings fail without a call of the backend")
  func stopped() throws {
    let port = try TestPort(engine, "fake0", .oneHardware(0))
    for ring in [port.tx(), port.rx()] {
      ring.state.insert(.stopped)
      #expect(ring.sync() == .stopped)
    }
    #expect(fake.pairs[0].flagsSeen.isEmpty)
    #expect(unsafe SyncPath.transmit(port.mapped.syncPath) == .stopped)
    #expect(unsafe SyncPath.receive(port.mapped.syncPath) == .stopped)
    #expect(port.mapped.scan(.receive).contains(.error))
  }

  @Test(
    "a transmit ring is reset without a call of the backend; a reset receive ring still receives")
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
