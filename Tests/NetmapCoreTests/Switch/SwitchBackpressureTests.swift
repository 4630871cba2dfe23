import Glibc
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("VALE: back-pressure", .timeLimit(.minutes(15)))
struct SwitchBackpressureTests {
  private let engine: Engine
  private let sender: TestPort
  private let m = Address.station(1)
  private let r = Address.station(2)

  init() throws {
    engine = try Engine()
    sender = try TestPort(engine, "vale0:s")
  }

  /// A receiver with room for 7 slots by default, whose station the switch has learned.
  private func receiver(
    _ name: String = "r", _ station: UInt8 = 2, flags: BindingFlags = [],
    extensions: PortExtensions = .backpressure, slots: UInt32 = 8
  ) throws -> TestPort {
    let port = try TestPort(
      engine, "vale0:\(name)", flags: flags, extensions: extensions, hints: .slots(slots))
    port.tx().send(TestFrame(target: m, source: .station(station), number: 0))
    return port
  }

  private func frames(_ numbers: Range<UInt32>, to target: Address) -> [TestFrame] {
    numbers.map { TestFrame(target: target, source: m, number: $0) }
  }

  /// Sends frames from ``sender`` in one sync.
  private func send(_ frames: [TestFrame]) {
    for frame in frames { sender.tx().putPacket(frame.bytes) }
    sender.tx().sync()
  }

  @Test("packets that do not fit stay in the sender's ring, in order, until they do")
  func stays() throws {
    let port = try receiver()
    let all = frames(0..<20, to: r)
    send(all)
    let tx = sender.tx()
    #expect(tx.space == tx.count - 1 - 13)
    #expect(tx.counters.packets == 7 && tx.counters.retries == 1)
    #expect(tx.counters.bytes == 7 * 60)
    var arrived: [[UInt8]] = []
    for _ in 0..<3 {
      arrived += port.rx().takePackets()
      tx.sync()
    }
    #expect(arrived == all.map(\.bytes))
    #expect(tx.space == tx.count - 1 && tx.counters.packets == 20)
    #expect(port.rx().counters.drops.total == 0)
  }

  @Test("packets of several slots wait whole; one longer than the ring is dropped")
  func longPackets() throws {
    let port = try receiver()
    let frame = TestFrame(target: r, source: m, number: 1, length: 300)
    for _ in 0..<3 { sender.tx().putPacket(frame.bytes, in: [100, 100, 100]) }
    sender.tx().sync()
    #expect(sender.tx().counters.packets == 2)
    #expect(port.rx().takePackets().count == 2)
    sender.tx().sync()
    #expect(port.rx().takePackets() == [frame.bytes])
    sender.tx().putPacket(frame.bytes, in: [100] + Array(repeating: 25, count: 8))
    sender.tx().putPacket(frame.bytes)
    sender.tx().sync()
    #expect(port.rx().takePackets() == [frame.bytes])
    #expect(port.rx().counters.drops[.ringFull] == 1)
  }

  @Test("other receivers get the packets before a waiting one, once; packets behind it wait too")
  func others() throws {
    let port = try receiver()
    let other = try receiver("o", 3, extensions: [], slots: 64)
    let toOther = Address.station(3)
    _ = (port.rx().takePackets(), other.rx().takePackets())
    let before = frames(0..<9, to: r)
    let behind = frames(9..<12, to: toOther)
    send(frames(20..<22, to: toOther) + before + behind)
    #expect(other.rx().takePackets() == frames(20..<22, to: toOther).map(\.bytes))
    #expect(port.rx().takePackets() == before.prefix(7).map(\.bytes))
    sender.tx().sync()
    #expect(port.rx().takePackets() == before.suffix(2).map(\.bytes))
    #expect(other.rx().takePackets() == behind.map(\.bytes))
    #expect(sender.tx().counters.packets == 14)
  }

  @Test("a sender whose packets go only to other receivers is not delayed")
  func unconcerned() throws {
    let port = try receiver()
    let other = try receiver("o", 3, extensions: [], slots: 64)
    _ = (port.rx().takePackets(), other.rx().takePackets())
    send(frames(0..<20, to: r))
    let third = try TestPort(engine, "vale0:t")
    let own = frames(0..<5, to: .station(3))
    for frame in own { third.tx().putPacket(frame.bytes) }
    third.tx().sync()
    #expect(third.tx().space == third.tx().count - 1)
    #expect(other.rx().takePackets() == own.map(\.bytes))
  }

  @Test("a broadcast reaches each of several receivers once, however slow one is")
  func broadcast() throws {
    let fast = try receiver("f", 2, slots: 64)
    let slow = try receiver("l", 3, slots: 8)
    let plain = try receiver("p", 4, extensions: [], slots: 64)
    for port in [fast, slow, plain] { _ = port.rx().takePackets() }
    let all = frames(0..<25, to: .broadcast)
    send(all)
    var arrived: [[[UInt8]]] = [[], [], []]
    for _ in 0..<6 {
      for (number, port) in [fast, slow, plain].enumerated() {
        arrived[number] += port.rx().takePackets()
        // Twice: a retry must not send a packet again to a receiver that has it.
        sender.tx().sync()
        sender.tx().sync()
      }
    }
    for packets in arrived { #expect(packets == all.map(\.bytes)) }
    let counters = sender.tx().counters
    #expect(counters.packets == 25 && counters.broadcasts == 25 && counters.copies == 75)
  }

  @Test("a waiting broadcast whose address is learned meanwhile reaches that port once")
  func learnedMeanwhile() throws {
    let fast = try receiver("f", 2, slots: 64)
    let slow = try receiver("l", 3, slots: 8)
    for port in [fast, slow] { _ = port.rx().takePackets() }
    let unknown = Address.station(9)
    send(frames(0..<8, to: unknown))
    #expect(fast.rx().takePackets().count == 8)
    #expect(slow.rx().takePackets().count == 7)
    fast.tx().send(TestFrame(target: m, source: unknown, number: 1))
    sender.tx().sync()
    #expect(sender.tx().space == sender.tx().count - 1)
    #expect(
      fast.rx().isSilent && slow.rx().isSilent, "the port with the address already has the packet")
    let counters = sender.tx().counters
    #expect(counters.packets == 8 && counters.broadcasts == 8 && counters.copies == 15)
    // The next broadcast reaches both again.
    let next = frames(30..<31, to: .broadcast)
    send(next)
    #expect(fast.rx().takePackets() == next.map(\.bytes))
    #expect(slow.rx().takePackets() == next.map(\.bytes))
  }

  @Test("when the receiver closes, packets that wait for it are dropped, and others go on")
  func closing() throws {
    let port = try receiver()
    let other = try receiver("o", 3, extensions: [], slots: 64)
    _ = (port.rx().takePackets(), other.rx().takePackets())
    send(frames(0..<10, to: r) + frames(10..<12, to: .station(3)))
    #expect(other.rx().isSilent)
    port.close()
    sender.tx().sync()
    #expect(sender.tx().space == sender.tx().count - 1)
    #expect(other.rx().takePackets().count == 2)
    #expect(sender.tx().counters.drops[.noDestination] == 3)
  }

  @Test("back-pressure ends with the last receiving binding that asked for it")
  func bindings() throws {
    let first = try TestPort(engine, "vale0:r", hints: .slots(8))
    first.tx().send(TestFrame(target: m, source: r, number: 0))
    let sending = try TestPort(engine, "vale0:r", flags: .transmitOnly, extensions: .backpressure)
    send(frames(0..<10, to: r))
    #expect(
      first.rx().counters.drops[.ringFull] == 3,
      "a binding that does not receive cannot ask for back-pressure")
    let second = try TestPort(engine, "vale0:r", extensions: .backpressure)
    send(frames(10..<20, to: r))
    #expect(sender.tx().space == sender.tx().count - 1 - 10)
    second.close()
    sender.tx().sync()
    #expect(first.rx().counters.drops[.ringFull] == 13)
    _ = sending
  }

  @Test("a persistent port can be attached with back-pressure, which ends when it is detached")
  func attached() throws {
    let name = try PortName("vale0:v0")
    _ = try engine.answer(.create(RegisterRequest(name: try PortName("v0"), hints: .slots(8))))
    _ = try engine.answer(.attach(RegisterRequest(name: name, extensions: .backpressure)))
    var port: TestPort? = try TestPort(engine, "v0")
    port?.tx().send(TestFrame(target: m, source: r, number: 0))
    send(frames(0..<10, to: r))
    #expect(sender.tx().space == sender.tx().count - 1 - 3)
    port?.close()
    port = nil
    sender.tx().sync()
    #expect(sender.tx().space == sender.tx().count - 1, "no binding receives any more")
    _ = try engine.answer(.detach(name))
    _ = try engine.answer(.attach(RegisterRequest(name: name)))
    let again = try TestPort(engine, "v0")
    again.tx().send(TestFrame(target: m, source: r, number: 0))
    send(frames(0..<10, to: r))
    #expect(sender.tx().space == sender.tx().count - 1)
    #expect(again.rx().counters.drops[.ringFull] == 3)
  }

  @Test("only switch ports have back-pressure: EINVAL for others")
  func refused() throws {
    let error = #expect(throws: NetmapError.self) {
      try TestPort(engine, "p{1", extensions: .backpressure)
    }
    #expect(error?.code == .invalidArgument)
  }

  @Test("packets whose header is converted wait as well")
  func converted() throws {
    let port = try receiver(flags: .acceptVirtioNetHeader)
    _ = try engine.answer(.setHeader(try PortName("vale0:r"), length: 12))
    let all = frames(0..<20, to: r)
    send(all)
    var arrived: [[UInt8]] = []
    for _ in 0..<3 {
      arrived += port.rx().takePackets()
      sender.tx().sync()
    }
    #expect(arrived == all.map { [UInt8](repeating: 0, count: 12) + $0.bytes })
  }

  @Test("drops behind a packet that waits are counted once, for each reason")
  func drops() throws {
    let port = try receiver()
    let tx = sender.tx()
    for frame in frames(0..<8, to: r) { tx.putPacket(frame.bytes) }
    tx.putPacket([1, 2, 3])
    tx.putPacket(TestFrame(target: m, source: m, number: 1).bytes)
    let bad = tx.head
    tx.putPacket(Array(repeating: 1, count: 60), in: [30, 30])
    tx[bad].length = 2049
    tx.putPacket(Array(repeating: 1, count: 70 * 20), in: Array(repeating: 20, count: 70))
    for _ in 0..<5 { tx.sync() }
    #expect(tx.counters.drops.total == 0 && tx.counters.packets == 7)
    _ = port.rx().takePackets()
    tx.sync()
    #expect(tx.counters.packets == 12)
    for reason in [.tooShort, .noDestination, .badLength, .tooManyFragments] as [DropReason] {
      #expect(tx.counters.drops[reason] == 1, "\(reason)")
    }
  }

  // MARK: - Sleeping

  @Test("slots that the receiver returns wake a sender that sleeps for room")
  func wakeup() throws {
    let port = try receiver(slots: 64)
    let total: UInt32 = 20_000
    let small = try TestPort(engine, "vale0:x", hints: .slots(16))
    nonisolated(unsafe) let shared = small
    let doorbells = engine.doorbells
    let thread = BackgroundThread {
      let own = unsafe shared
      let sleeper = Sleeper(doorbells: doorbells)
      var sent: UInt32 = 0
      while sent < total {
        while own.tx().space > 0, sent < total {
          own.tx().putPacket(
            TestFrame(target: .station(2), source: .station(1), number: sent).bytes)
          sent += 1
        }
        var items = [Sleeper.Item(port: own.mapped, wanted: .transmit)]
        var none: [pollfd] = []
        // Without a wake-up this times out, and the sender stops early.
        guard (try? sleeper.wait(for: &items, and: &none, timeout: 20_000_000_000)) == 1 else {
          return
        }
      }
      // The last packets wait in the ring: syncs must send them as the receiver makes room.
      let end = monotonicNanoseconds() + 20_000_000_000
      while own.tx().space < own.tx().count - 1, monotonicNanoseconds() < end { own.tx().sync() }
    }
    let sleeper = Sleeper(doorbells: doorbells)
    var expected: UInt32 = 0
    while expected < total {
      var items = [Sleeper.Item(port: port.mapped, wanted: .receive)]
      var none: [pollfd] = []
      try #require(
        try sleeper.wait(for: &items, and: &none, timeout: 20_000_000_000) == 1,
        "\(expected) packets have arrived")
      for packet in port.rx().takePackets() {
        let number = packet[14..<18].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        try #require(number == expected)
        expected += 1
      }
    }
    thread.join()
    #expect(small.tx().counters.packets == UInt64(total))
    #expect(port.rx().counters.drops.total == 0)
  }

  @Test("a receiver that closes wakes a sleeping sender, whichever direction it waits for")
  func wokenByClosing() throws {
    for wanted in [Readiness.transmit, .receive] {
      let port = try receiver()
      let small = try TestPort(engine, "vale0:x", hints: .slots(4))
      for frame in frames(0..<10, to: r) {
        if small.tx().space == 0 { small.tx().sync() }
        small.tx().putPacket(frame.bytes)
      }
      small.tx().sync()
      #expect(small.tx().space == 0)
      nonisolated(unsafe) let (shared, leaving) = (small, port)
      let engine = engine
      let thread = BackgroundThread {
        let (own, _) = unsafe (shared, leaving)
        let sleeper = Sleeper(doorbells: engine.doorbells)
        var items = [Sleeper.Item(port: own.mapped, wanted: wanted)]
        var none: [pollfd] = []
        _ = try? sleeper.wait(for: &items, and: &none, timeout: 1_000_000_000)
      }
      let start = monotonicNanoseconds()
      while small.tx().counters.sleeps == 0, small.rx().counters.sleeps == 0 {
        try #require(monotonicNanoseconds() - start < 900_000_000, "the sender does not sleep")
        usleep(1000)
      }
      port.close()
      engine.wakeHeldSenders()
      let end = monotonicNanoseconds() + 800_000_000
      while small.tx().hwcur != small.tx().head, monotonicNanoseconds() < end { usleep(1000) }
      #expect(small.tx().hwcur == small.tx().head, "the woken sender goes on: \(wanted)")
      thread.join()
      small.close()
    }
  }
}
