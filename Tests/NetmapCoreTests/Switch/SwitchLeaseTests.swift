import Glibc
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Counters that threads share.
private final class SharedCounts: Sendable {
  private let values: Mutex<[UInt64]>

  init(_ count: Int) { values = Mutex(Array(repeating: 0, count: count)) }

  subscript(index: Int) -> UInt64 {
    get { values.withLock { $0[index] } }
    set { values.withLock { $0[index] = newValue } }
  }
}

@Suite("VALE: several senders, and ports that close")
struct SwitchLeaseTests {
  @Test("three senders to one receiver: all packets arrive, each sender's in order")
  func threeSenders() throws {
    let engine = try Engine()
    let receiver = try TestPort(engine, "vale0:r")
    let perSender: UInt32 = 20_000
    let window: UInt64 = 300
    // Each sender has at most a third of the ring in flight, so there is always room.
    let taken = SharedCounts(3)
    let senders = try (0..<3).map { number in
      let port = try TestPort(engine, "vale0:s\(number)")
      nonisolated(unsafe) let shared = port
      return BackgroundThread {
        let port = unsafe shared
        var sent: UInt64 = 0
        let end = monotonicNanoseconds() + 60_000_000_000
        while sent < perSender, monotonicNanoseconds() < end {
          let room = min(window - (sent - taken[number]), 64, UInt64(perSender) - sent)
          if room == 0 {
            sched_yield()
            continue
          }
          for step in 0..<room {
            port.tx().putPacket(
              TestFrame(
                target: .broadcast, source: .station(UInt8(number)), number: UInt32(sent + step)
              ).bytes)
          }
          port.tx().sync()
          sent += room
        }
      }
    }
    var expected = [UInt32](repeating: 0, count: 3)
    let end = monotonicNanoseconds() + 60_000_000_000
    while expected.contains(where: { $0 < perSender }), monotonicNanoseconds() < end {
      let packets = receiver.rx().takePackets()
      if packets.isEmpty { sched_yield() }
      for packet in packets {
        let sender = Int(packet[11])
        let frame = TestFrame(
          target: .broadcast, source: .station(UInt8(sender)), number: expected[sender])
        try #require(packet == frame.bytes)
        expected[sender] += 1
        taken[sender] = UInt64(expected[sender])
      }
    }
    #expect(expected == [perSender, perSender, perSender], "within 60 seconds")
    for sender in senders { sender.join() }
    #expect(receiver.rx().counters.drops.total == 0)
    #expect(receiver.rx().counters.packets == UInt64(3 * perSender))
  }

  @Test("the engine finishes the lease of a dead sender with empty slots")
  func deadSender() throws {
    let vale = try TestSwitch(3)
    let rx = vale[2].rx()
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1)
    // The sender dies after it has reserved three slots.
    #expect(vale[0].tx().lock(vale[0].tag))
    let generation = vale[2].generation
    vale[0].reserve(3, of: vale[2], port: 2, generation: generation)
    vale[1].tx().send(frame)
    #expect(rx.isSilent, "later packets wait for the lease")
    #expect(vale.engine.finishLeases(of: vale[0].tag) == 1)
    #expect(vale[0].registration.segment.releaseLocks(of: vale[0].tag) == 1)
    rx.sync()
    #expect((0..<4).map { rx[$0].length } == [0, 0, 0, 60])
    #expect(rx.takePackets().last == frame.bytes)
    #expect(rx.counters.packets == 1)
    vale[0].tx().send(frame)
    #expect(rx.takePackets() == [frame.bytes])
  }

  @Test("a dead sender without an open lease leaves nothing to finish")
  func deadWithoutLease() throws {
    let vale = try TestSwitch(3)
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1)
    vale[0].tx().send(frame)
    #expect(vale[0].tx().lock(vale[0].tag))
    #expect(vale.engine.finishLeases(of: vale[0].tag) == 0)
    #expect(vale[2].rx().takePackets() == [frame.bytes])
    vale[1].tx().send(frame)
    #expect(vale[2].rx().takePackets() == [frame.bytes])
  }

  @Test("a full ring that a stopped sender holds up counts busy, not ring_full")
  func stoppedSender() throws {
    let vale = try TestSwitch(3, hints: .slots(8))
    let rx = vale[2].rx()
    let generation = vale[2].generation
    vale[0].reserve(1, of: vale[2], port: 2, generation: generation)
    for number in 0..<9 as Range<UInt32> {
      vale[1].tx().send(TestFrame(target: .broadcast, source: .station(1), number: number))
      _ = vale[0].rx().takePackets()
    }
    #expect(rx.counters.drops[.busy] == 3)
    #expect(rx.counters.drops[.ringFull] == 0)
    #expect(vale[0].rx().counters.packets == 9, "the other receiver loses no packet")
  }

  @Test("a port that closes during a sync to it keeps its memory until that sync is over")
  func leavingPort() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale0:a")
    var receiver: TestPort? = try TestPort(engine, "vale0:b")
    let shared = try #require(receiver).registration.memoryID
    let other = try TestPort(engine, "vale0:c", memoryID: shared)
    let index = try #require(receiver).rx()[0].bufferIndex
    // A sender in the middle of a sync.
    #expect(sender.tx().lock(sender.tag))
    receiver?.close()
    receiver = nil
    let next = try TestPort(engine, "vale0:d", memoryID: shared)
    #expect(!next.rx().bufferIndexes.contains(index), "the closed port's buffers are not reused")
    #expect(!next.tx().bufferIndexes.contains(index))
    sender.tx().unlock()
    let last = try TestPort(engine, "vale0:e", memoryID: shared)
    #expect((last.rx().bufferIndexes + last.tx().bufferIndexes).contains(index))
    _ = other
  }

  @Test("a ring is not created again while a sender may be writing to its predecessor: EBUSY")
  func reopenedRing() throws {
    let engine = try Engine()
    let sender = try TestPort(engine, "vale0:a")
    let keeper = try TestPort(engine, "vale0:b", flags: [.transmitOnly])
    let first = try TestPort(engine, "vale0:b", flags: [.receiveOnly])
    #expect(sender.tx().lock(sender.tag))
    first.close()
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "vale0:b", flags: [.receiveOnly])
    }
    #expect(error?.code == .busy)
    sender.tx().unlock()
    let second = try TestPort(engine, "vale0:b", flags: [.receiveOnly])
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1)
    sender.tx().send(frame)
    #expect(second.rx().takePackets() == [frame.bytes])
    _ = keeper
  }

  @Test("a sender does not use what it knows of a ring's room for the next ring in its place")
  func roomOfAnotherRing() throws {
    let engine = try Engine()
    let (a, b) = (try TestPort(engine, "vale0:a"), try TestPort(engine, "vale0:b"))
    let keeper = try TestPort(engine, "vale0:r", flags: [.transmitOnly], hints: .slots(16))
    let first = try TestPort(engine, "vale0:r", flags: [.receiveOnly])
    keeper.tx().send(TestFrame(target: .station(1), source: .station(9), number: 0))
    _ = (a.rx().takePackets(), b.rx().takePackets())
    func send(_ port: TestPort, _ numbers: ClosedRange<UInt32>) {
      for number in numbers {
        port.tx().send(TestFrame(target: .station(9), source: .station(8), number: number))
      }
    }
    // The sync of packet 16 finds room for 14 more.
    send(a, 1...15)
    #expect(first.rx().takePackets().count == 15)
    send(a, 16...16)
    first.close()
    let second = try TestPort(engine, "vale0:r", flags: [.receiveOnly])
    // The new ring at the same position, but full.
    send(b, 101...115)
    let rx = second.rx()
    rx.sync()
    rx.move(to: 1)
    rx.sync()
    send(b, 116...116)
    send(a, 201...203)
    let packets = rx.takePackets()
    #expect(packets.map { $0[14] } == Array(102...116))
    #expect(rx.counters.drops[.ringFull] == 3)
    _ = keeper
  }

  @Test("a port opens and closes while two threads send to it: no other port loses a packet")
  func comingAndGoing() throws {
    let engine = try Engine()
    let receiver = try TestPort(engine, "vale0:r")
    let isOver = SharedCounts(1)
    let sent = SharedCounts(2)
    let threads = try (0..<2).map { number in
      nonisolated(unsafe) let own = try TestPort(engine, "vale0:s\(number)")
      nonisolated(unsafe) let reader = receiver
      return BackgroundThread {
        let (port, reader) = unsafe (own, reader)
        let end = monotonicNanoseconds() + 30_000_000_000
        while isOver[0] == 0, monotonicNanoseconds() < end {
          port.tx().send(
            TestFrame(target: .broadcast, source: .station(UInt8(number)), number: 0))
          sent[number] += 1
          while sent[number] % 64 == 0, isOver[0] == 0, monotonicNanoseconds() < end {
            sched_yield()
            if reader.rx().counters.packets &+ 200 > sent[0] + sent[1] { break }
          }
        }
      }
    }
    var taken = 0
    for _ in 0..<200 {
      let guest = try TestPort(engine, "vale0:guest")
      for _ in 0..<3 { taken += receiver.rx().takePackets().count }
      _ = guest.rx().takePackets()
    }
    isOver[0] = 1
    for thread in threads { thread.join() }
    taken += receiver.rx().takePackets().count
    #expect(UInt64(taken) == sent[0] + sent[1])
    #expect(receiver.rx().counters.drops.total == 0)
  }
}

extension TestPort {
  /// Reserves slots of another port's receive ring and does not fill them, like a sender that stops or dies.
  fileprivate func reserve(_ slots: UInt32, of receiver: TestPort, port: Int, generation: UInt32) {
    let (own, ring) = unsafe (mapped.transmit(0).kring, receiver.mapped.receive(0).kring)
    let known = unsafe ring.reservation
    unsafe own.announce(
      LeaseTarget(port: port, generation: generation, ring: 0), known, slots: slots)
    let following = known.following(slots, of: receiver.rx().count)
    #expect(unsafe ring.reserve(from: known, upTo: following).isOurs)
  }

  /// The generation of the port on its switch.
  fileprivate var generation: UInt32 {
    mapped.vale?.generation ?? 0
  }
}
