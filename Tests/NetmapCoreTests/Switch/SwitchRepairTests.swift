import NetmapCore
import NetmapTestSupport
import Testing

/// How the engine finishes leases of dead senders, and handles forged announcements of leases.
@Suite("VALE: leases of dead senders")
struct SwitchRepairTests {
  /// Ports a, b and two receivers; a dies, b lives.
  private let vale: TestSwitch
  private let (a, b, r1, r2): (TestPort, TestPort, TestPort, TestPort)

  init() throws {
    vale = try TestSwitch(4, hints: .slots(64))
    (a, b, r1, r2) = (vale[0], vale[1], vale[2], vale[3])
    // Let the switch learn the addresses of the receivers.
    for (number, port) in [r1, r2].enumerated() {
      port.tx().send(TestFrame(target: .station(9), source: .station(UInt8(number)), number: 0))
    }
    for port in vale.ports { _ = port.rx().takePackets() }
  }

  private func send(_ port: TestPort, to receiver: UInt8, _ numbers: Range<UInt32>) {
    for number in numbers {
      port.tx().send(TestFrame(target: .station(receiver), source: .station(8), number: number))
    }
  }

  private func target(_ port: TestPort) -> LeaseTarget {
    LeaseTarget(
      port: port.mapped.vale?.index ?? 0, generation: port.mapped.vale?.generation ?? 0,
      ring: 0)
  }

  @Test(
    "a sender killed between any two stores of its announcement takes no slots of a live sender",
    arguments: 0...4, [[1, 1], [1, 1, 1, 1, 1, 1, 1], [4, 1, 1, 1]])
  func killedWhileAnnouncing(stores: Int, leases: [Int]) throws {
    // The last lease of a was number 3 of r1, in slot 2. In r2, slot 2 is free, or that of an unread lease with the same
    // number, or in the middle of an unread lease.
    send(a, to: 0, 0..<3)
    var sent: UInt32 = 0
    for length in leases {
      for _ in 0..<length {
        b.tx().putPacket(
          TestFrame(target: .station(1), source: .station(8), number: sent).bytes)
        sent += 1
      }
      b.tx().sync()
    }
    #expect(a.tx().lock(a.tag))
    unsafe a.mapped.transmit(0).kring.announce(
      target(r2), r2.mapped.receive(0).kring.reservation, slots: 5, room: 9, stores: stores)
    #expect(vale.engine.finishLeases(of: a.tag) == 0, "the dead sender has reserved nothing")
    #expect(a.registration.segment.releaseLocks(of: a.tag) == 1)
    send(b, to: 1, 7..<9)
    let expected = Array(0..<UInt8(sent)) + [7, 8]
    #expect(r2.rx().takePackets().map { $0[14] } == expected)
    #expect(r1.rx().takePackets().map { $0[14] } == [0, 1, 2])
    // The ring does not stop later either.
    for round in 0..<10 as Range<UInt32> {
      send(a, to: 1, round..<round + 5)
      #expect(r2.rx().takePackets().count == 5)
    }
  }

  @Test("a lease is finished once, even if two dead senders announced it")
  func twoDead() throws {
    let kring = unsafe r2.mapped.receive(0).kring
    let known = unsafe kring.reservation
    for (port, slots) in [(a, 5), (b, 3)] as [(TestPort, UInt32)] {
      #expect(port.tx().lock(port.tag))
      unsafe port.mapped.transmit(0).kring.announce(target(r2), known, slots: slots)
    }
    #expect(unsafe kring.reserve(from: known, upTo: known.following(3, of: 64)).isOurs)
    send(r1, to: 1, 0..<2)
    // While b's sync is in progress, the slots may be b's own.
    #expect(vale.engine.finishLeases(of: a.tag) == 0)
    #expect(r2.rx().isSilent)
    #expect(vale.engine.finishLeases(of: b.tag) == 1)
    r2.rx().sync()
    #expect(r2.rx().space == 5, "three empty slots, as reserved, and two packets")
    #expect(r2.rx().takePackets().suffix(1).map { $0[14] } == [1])
  }

  @Test("a kring may have any announcement of a dead sender's lease")
  func anyIntent() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0x1e45e
    var generator = SeededGenerator(seed: seed)
    let memory = a.registration.segment.memory
    let kring = Int(unsafe a.registration.segment.offset(of: a.mapped.transmit(0).kring))
    let lock = a.tx().lock(a.tag)
    #expect(lock)
    let words: [UInt32] = [0, 0, 1, 2, 3, 63, 64, 0xffff, 0x1_0000, .max, .max]
    for _ in 0..<20_000 {
      for word in 0..<8 {
        memory.store(
          words.randomElement(using: &generator) ?? 0, at: kring + KRingLayout.intent + 4 * word)
      }
      vale.engine.finishLeases(of: a.tag)
    }
    // A directed test: the highest number, for every port.
    for generation in 0..<8 as Range<UInt32> {
      for port in 0..<4 as Range<UInt32> {
        for (word, value) in [port, generation, 0, 1, 1, 0, .max, .max].enumerated() {
          memory.store(value, at: kring + KRingLayout.intent + 4 * word)
        }
        vale.engine.finishLeases(of: a.tag)
        unsafe a.mapped.transmit(0).kring.announce(
          LeaseTarget(port: Int(port), generation: generation, ring: 0), Reservation(.max),
          slots: 1)
        vale.engine.finishLeases(of: a.tag)
      }
    }
    a.tx().unlock()
  }

  @Test("a ring that always claims a dead sender's slots holds up only the ring that has them")
  func undecidedForEver() throws {
    let kring = unsafe r2.mapped.receive(0).kring
    for round in 0..<3000 as Range<UInt32> {
      let known = unsafe kring.reservation
      for port in [a, b] {
        _ = port.tx().lock(port.tag)
        unsafe port.mapped.transmit(0).kring.announce(target(r2), known, slots: 1)
      }
      _ = unsafe kring.reserve(from: known, upTo: known.following(1, of: 64))
      #expect(vale.engine.finishLeases(of: a.tag) == 0)
      a.tx().unlock()
      if round % 500 == 0 {
        send(a, to: 0, round..<round + 1)
        #expect(r1.rx().takePackets().count == 1)
      }
    }
    b.tx().unlock()
    _ = vale.engine.check()
  }
}
