import NetmapCore
import Testing

// The worked examples of the switch's specification.
@Suite("VALE: worked examples")
struct SwitchExampleTests {
  private let m = Address.station(1)
  private let n = Address.station(2)

  @Test("a broadcast reaches every port but the sender's, and the sender's ring is free again")
  func broadcast() throws {
    let vale = try TestSwitch(3)
    let frame = TestFrame(target: .broadcast, source: m, number: 1)
    vale[0].tx().send(frame)
    for port in [vale[1], vale[2]] {
      port.rx().sync()
      #expect(port.rx()[0].flags.rawValue == 0x0100)
      #expect(port.rx().takePackets() == [frame.bytes])
    }
    #expect(vale[0].rx().isSilent)
    #expect(vale[0].tx().space == 1023)
  }

  @Test("a learned address is sent to its port alone, an unknown one to all")
  func learning() throws {
    let vale = try TestSwitch(3)
    vale[0].tx().send(TestFrame(target: .broadcast, source: m, number: 1))
    _ = (vale[1].rx().takePackets(), vale[2].rx().takePackets())
    let known = TestFrame(target: m, source: n, number: 2)
    vale[1].tx().send(known)
    #expect(vale[0].rx().takePackets() == [known.bytes])
    #expect(vale[2].rx().isSilent)
    let unknown = TestFrame(target: .station(9), source: n, number: 3)
    vale[1].tx().send(unknown)
    #expect(vale[0].rx().takePackets() == [unknown.bytes])
    #expect(vale[2].rx().takePackets() == [unknown.bytes])
  }

  @Test("packets to a closed port are dropped, and later go to the next port with its index")
  func staleEntry() throws {
    let vale = try TestSwitch(3)
    vale[0].tx().send(TestFrame(target: .broadcast, source: m, number: 1))
    _ = (vale[1].rx().takePackets(), vale[2].rx().takePackets())
    vale[0].close()
    vale[1].tx().send(TestFrame(target: m, source: n, number: 2))
    #expect(vale[2].rx().isSilent)
    #expect(vale[1].tx().counters.drops[.noDestination] == 1)
    let heir = try TestPort(vale.engine, "vale0:d")
    let frame = TestFrame(target: m, source: n, number: 3)
    vale[1].tx().send(frame)
    #expect(heir.rx().takePackets() == [frame.bytes])
    vale[2].tx().send(TestFrame(target: .broadcast, source: m, number: 4))
    _ = heir.rx().takePackets()
    vale[1].tx().send(TestFrame(target: m, source: n, number: 5))
    #expect(heir.rx().isSilent, "the address was learned again")
  }

  @Test("a receiver that never reads keeps n-1 packets, and other receivers lose none")
  func fullReceiver() throws {
    let vale = try TestSwitch(3)
    var seen = 0
    for batch in 0..<20 {
      for place in 0..<100 {
        let number = UInt32(batch * 100 + place)
        vale[0].tx().putPacket(TestFrame(target: .broadcast, source: m, number: number).bytes)
      }
      vale[0].tx().sync()
      seen += vale[1].rx().takePackets().count
    }
    #expect(seen == 2000)
    let kept = vale[2].rx().takePackets()
    #expect(kept.count == 1023)
    #expect(kept.last == TestFrame(target: .broadcast, source: m, number: 1022).bytes)
    #expect(vale[2].rx().counters.drops[.ringFull] == 977)
    #expect(vale[2].rx().counters.packets == 1023)
    #expect(vale[1].rx().counters.packets == 2000)
    #expect(vale[1].rx().counters.bytes == 120_000)
    #expect(vale[1].rx().counters.drops.total == 0)
  }

  @Test("a transmit-only port gets no packets, and the drops are counted")
  func transmitOnly() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale0:a")
    let deaf = try TestPort(engine, "vale0:b", flags: [.transmitOnly])
    deaf.tx().send(TestFrame(target: .broadcast, source: n, number: 0))
    _ = sender.rx().takePackets()
    sender.tx().send(TestFrame(target: n, source: m, number: 1))
    let hearing = try TestPort(engine, "vale0:b", flags: [.receiveOnly])
    #expect(hearing.rx().isSilent)
    #expect(hearing.rx().counters.drops[.noReceiver] == 1)
    let frame = TestFrame(target: n, source: m, number: 2)
    sender.tx().send(frame)
    #expect(hearing.rx().takePackets() == [frame.bytes])
  }

  @Test("a packet that does not fit is dropped whole, with all that follow in the sync")
  func tooManyFragments() throws {
    let vale = try TestSwitch(2, hints: .slots(8))
    let tx = vale[0].tx()
    for number in 0..<5 as Range<UInt32> {
      tx.send(TestFrame(target: .broadcast, source: m, number: number))
    }
    let long = TestFrame(target: .broadcast, source: m, number: 5, length: 300).bytes
    tx.putPacket(long, in: [100, 100, 100])
    tx.putPacket(TestFrame(target: .broadcast, source: m, number: 6).bytes)
    tx.sync()
    #expect(vale[1].rx().takePackets().count == 5)
    #expect(vale[1].rx().counters.drops[.ringFull] == 2)
    tx.putPacket(long, in: [100, 100, 100])
    tx.sync()
    vale[1].rx().sync()
    let rx = vale[1].rx()
    #expect((5..<8).map { rx[$0].flags.rawValue } == [0x0320, 0x0320, 0x0300])
    #expect(rx.takePackets() == [long])
  }

  @Test("ring 3 of four sends to ring 1 of two; broadcasts go to ring 0")
  func severalRings() throws {
    let engine = try Engine()
    let sender = try TestPort(
      engine, "vale0:a", hints: RingGeometryHints(transmitRings: 4, receiveRings: 1))
    let receiver = try TestPort(
      engine, "vale0:b", hints: RingGeometryHints(transmitRings: 1, receiveRings: 2))
    receiver.tx().send(TestFrame(target: .broadcast, source: n, number: 0))
    let direct = TestFrame(target: n, source: m, number: 1)
    let common = TestFrame(target: .broadcast, source: m, number: 2)
    sender.tx(3).send(direct, common)
    #expect(receiver.rx(1).takePackets() == [direct.bytes])
    #expect(receiver.rx(0).takePackets() == [common.bytes])
  }

  @Test("a frame of 13 bytes reaches no port")
  func runt() throws {
    let vale = try TestSwitch(2)
    vale[0].tx().send(TestFrame(target: .broadcast, source: m, number: 1, length: 13))
    #expect(vale[1].rx().isSilent)
    #expect(vale[0].tx().counters.drops[.tooShort] == 1)
    let shortest = TestFrame(target: .broadcast, source: m, number: 2, length: 14)
    vale[0].tx().send(shortest)
    #expect(vale[1].rx().takePackets() == [shortest.bytes])
  }

  @Test(
    "a sync that ends in the middle of a packet sends that part, and the rest as another packet")
  func truncated() throws {
    let vale = try TestSwitch(2)
    let bytes = TestFrame(target: .broadcast, source: m, number: 1, length: 90).bytes
    let tx = vale[0].tx()
    tx.putPacket(Array(bytes[..<60]), in: [30, 30], continues: true)
    tx.sync()
    tx.putPacket(Array(bytes[60...]))
    tx.sync()
    #expect(vale[1].rx().takePackets() == [Array(bytes[..<60]), Array(bytes[60...])])
  }

  @Test("more switches than netmap's eight, separate from each other")
  func manySwitches() throws {
    let engine = try Engine()
    let ports = try (0..<12).map { try TestPort(engine, "vale\($0):x") }
    let others = try (0..<12).map { try TestPort(engine, "vale\($0):y") }
    for (number, port) in ports.enumerated() {
      port.tx().send(TestFrame(target: .broadcast, source: m, number: UInt32(number)))
    }
    for (number, port) in others.enumerated() {
      let frame = TestFrame(target: .broadcast, source: m, number: UInt32(number))
      #expect(port.rx().takePackets() == [frame.bytes])
    }
  }

  @Test("an exclusive port can be opened only once")
  func exclusive() throws {
    let engine = try Engine()
    let first = try TestPort(engine, "vale0:x", flags: [.exclusive])
    for flags in [[], .exclusive] as [BindingFlags] {
      let error = #expect(throws: NetmapError.self) {
        try TestPort(engine, "vale0:x", flags: flags)
      }
      #expect(error?.code == .busy)
    }
    first.close()
  }
}
