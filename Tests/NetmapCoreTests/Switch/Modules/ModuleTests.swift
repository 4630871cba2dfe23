import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

/// Sends every packet to one port, counts packets, and records the ports that have closed.
private struct ToPort: ~Copyable, SwitchModule {
  static var name: String { "to-port" }

  let target: Int
  let packets = Atomic<UInt64>(0)
  let left = Mutex<[Int]>([])
  let configured = Mutex<[String]>([])

  init(configuration: String) throws(NetmapError) {
    guard let target = Int(configuration) else {
      throw NetmapError(.invalidArgument, "configure", "to-port", reason: "no number")
    }
    self.target = target
  }

  func lookup(_ batch: borrowing SwitchBatch) {
    batch.route { packet in
      packets.wrappingAdd(1, ordering: .relaxed)
      return packet.fragments > 1 ? .port(target, ring: 1) : .port(target)
    }
  }

  func portLeft(_ index: Int) { left.withLock { $0.append(index) } }

  var statistics: [SwitchModuleStatistic] {
    [
      SwitchModuleStatistic("seen", packets.load(ordering: .relaxed)),
      SwitchModuleStatistic("left", UInt64(left.withLock { $0.count })),
    ]
  }
}

/// Returns the verdicts of its configuration in turn, valid or not.
private struct Nonsense: SwitchModule {
  static var name: String { "nonsense" }
  let answers: [UInt32]

  init(configuration: String) throws(NetmapError) {
    answers = configuration.split(separator: ",").compactMap { UInt32($0) }
  }

  func lookup(_ batch: borrowing SwitchBatch) {
    var place = 0
    batch.route { _ in
      place += 1
      return SwitchVerdict(rawValue: answers[(place - 1) % answers.count])
    }
  }
}

/// A learning bridge that counts how often it is asked.
private struct ByAddresses: ~Copyable, SwitchModule {
  static var name: String { "by-addresses" }
  static var decidesByAddresses: Bool { true }

  let asked = Atomic<UInt64>(0)

  init(configuration: String = "") throws(NetmapError) {}

  func lookup(_ batch: borrowing SwitchBatch) {
    batch.route { packet in
      asked.wrappingAdd(1, ordering: .relaxed)
      packet.learn()
      return packet.learned
    }
  }

  var statistics: [SwitchModuleStatistic] {
    [SwitchModuleStatistic("asked", asked.load(ordering: .relaxed))]
  }
}

/// Returns no verdict.
private struct Silent: SwitchModule {
  static var name: String { "silent" }
  init(configuration: String = "") throws(NetmapError) {}
  func lookup(_ batch: borrowing SwitchBatch) {}
}

@Suite("VALE modules")
struct ModuleTests {
  @Test("Swift's structures are those of net/netmap_module.h")
  func layout() {
    #expect(ModuleLayout.faults.isEmpty, "\(ModuleLayout.faults)")
  }

  @Test("a hub sends every packet to all other ports")
  func hub() throws {
    let vale = try TestSwitch(3)
    try vale.choose(.hub)
    let (a, b) = (
      TestFrame(target: .station(2), source: .station(1), number: 1),
      TestFrame(target: .station(1), source: .station(2), number: 2)
    )
    vale[0].tx().send(a)
    vale[1].tx().send(b)
    #expect(vale.takeAll() == [[b.bytes], [a.bytes], [a.bytes, b.bytes]])
    #expect(try vale.report().choice == .hub)
    // The next module uses the addresses that the hub has learned.
    try vale.choose(.learning)
    vale[2].tx().send(a)
    #expect(vale.takeAll() == [[], [a.bytes], []])
  }

  @Test(
    "a module of the program chooses port and ring, has statistics, and is told of closed ports")
  func ofTheProgram() throws {
    let vale = try TestSwitch(3, hints: RingGeometryHints(transmitRings: 2, receiveRings: 2))
    try vale.install(ToPort(configuration: "2"))
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1, length: 100)
    vale[0].tx(1).send(frame)
    vale[0].tx().putPacket(frame.bytes, in: [60, 40])
    vale[0].tx().sync()
    #expect(vale[2].rx(0).isSilent)
    #expect(vale[2].rx(1).takePackets() == [frame.bytes, frame.bytes])
    #expect(vale[1].rx().isSilent)
    vale[1].close()
    let report = try vale.report()
    #expect(report.active == "to-port")
    #expect(report["seen"] == 2 && report["left"] == 1 && report["packets"] == 2)
    // A verdict for the sender's own port drops the packet.
    vale[2].tx().send(frame)
    #expect(try vale.report()["dropped"] == 1)
    #expect(vale[2].tx().counters.drops[.noDestination] == 1)
  }

  @Test("a module that decides by addresses is asked once about a flow run")
  func byAddresses() throws {
    let vale = try TestSwitch(3)
    try vale.install(ByAddresses())
    vale[1].tx().send(TestFrame(target: .broadcast, source: .station(2), number: 0))
    _ = vale.takeAll()
    let frames = (1...100).map { number in
      TestFrame(
        target: .station(number <= 40 || number > 60 ? 2 : 3), source: .station(1),
        number: UInt32(number))
    }
    for frame in frames { vale[0].tx().putPacket(frame.bytes) }
    vale[0].tx().sync()
    // Station 3 is unknown: frames for it flood.
    #expect(
      vale.takeAll() == [[], frames.map(\.bytes), frames[40..<60].map(\.bytes)])
    let report = try vale.report()
    #expect(report["packets"] == 101)
    // Once for the first 40, and one by one for those that flood and those behind them.
    #expect(report["asked"] ?? .max <= 64)
    // One by one when consecutive packets belong to different flows.
    let asked = try #require(report["asked"])
    for frame in frames[0..<4] {
      vale[0].tx().putPacket(frame.bytes)
      vale[0].tx().putPacket(frames[40].bytes)
    }
    vale[0].tx().sync()
    #expect(try vale.report()["asked"] == asked + 8)
  }

  @Test(
    "the learning module forwards as the built-in learning bridge does",
    arguments: 0..<3 as Range<UInt64>)
  func learning(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0x1ea2_0000 + number
    var generator = SeededGenerator(seed: seed)
    let (plain, programmed) = (try TestSwitch(5), try TestSwitch(5))
    try programmed.install(LearningModule())
    for step in 0..<300 {
      let sender = Int.random(in: 0..<5, using: &generator)
      for number in 0..<UInt32.random(in: 1...8, using: &generator) {
        let frame = TestFrame(
          target: generator.chance(20)
            ? .broadcast : .station(UInt8.random(in: 0...9, using: &generator)),
          source: generator.chance(5)
            ? .broadcast : .station(UInt8.random(in: 0...9, using: &generator)),
          number: UInt32(step) << 8 | number,
          length: generator.chance(5) ? 10 : Int.random(in: 30...400, using: &generator))
        let sizes = frame.length > 200 && generator.chance(50) ? [20, frame.length - 20] : nil
        plain[sender].tx().putPacket(frame.bytes, in: sizes)
        programmed[sender].tx().putPacket(frame.bytes, in: sizes)
      }
      plain[sender].tx().sync()
      programmed[sender].tx().sync()
      try #require(
        plain.takeAll() == programmed.takeAll(), "NETMAP_TEST_SEED=\(seed), step \(step)")
    }
  }

  @Test("invalid verdicts drop the packet, and do no other harm")
  func nonsense() throws {
    let vale = try TestSwitch(3)
    try vale.install(
      Nonsense(configuration: "255,256,65535,4294967295,253,77,131071,16711934,1,4294901761"))
    for number in 0..<10 as Range<UInt32> {
      vale[0].tx().putPacket(
        TestFrame(target: .broadcast, source: .station(1), number: number).bytes)
    }
    vale[0].tx().sync()
    let numbers = vale.takeAll().map { $0.map { $0[14] } }
    // 16711934 is "all" with a ring, which broadcasts ignore; 1 is port 1; the last one is port 1 with a
    // ring number, which the switch takes modulo the number of rings.
    #expect(numbers == [[], [7, 8, 9], [7]])
    #expect(vale[0].tx().counters.drops.total == 7)
    try vale.install(Silent())
    vale[0].tx().send(TestFrame(target: .broadcast, source: .station(1), number: 1))
    #expect(vale.takeAll() == [[], [], []])
    #expect(vale[0].tx().counters.drops[.filtered] > 0)
  }

  @Test("a module needs an existing switch, and is removed with it")
  func lifetime() throws {
    let engine = try Engine()
    func refusal(_ name: String) -> NetmapError.Code? {
      do throws(NetmapError) {
        _ = try engine.answer(.module(name, .choose(.hub)))
        return nil
      } catch {
        return error.code
      }
    }
    #expect(refusal("vale0") == .noSuchEntry)
    #expect(refusal("eth0") == .invalidArgument)
    #expect(refusal("vale0:a") == .invalidArgument)
    do {
      let port = try TestPort(engine, "vale0:a")
      #expect(refusal("vale0") == nil)
      port.close()
    }
    #expect(refusal("vale0") == .noSuchEntry)
    let port = try TestPort(engine, "vale0:a")
    #expect(try engine.answer(.module("vale0", .report)).module?.active == "learning")
    port.close()
  }

  @Test("a configuration that a stopped sender may be reading is not overwritten: EBUSY")
  func stoppedSender() throws {
    let vale = try TestSwitch(2)
    try vale.choose(.filter(rules: "deny udp"))
    // A sync that has begun and does not end.
    #expect(vale[0].tx().lock(vale[0].tag))
    try vale.choose(.filter(rules: "deny tcp"))
    let error = #expect(throws: NetmapError.self) {
      try vale.choose(.filter(rules: "deny sctp"))
    }
    #expect(error?.code == .busy && error?.mayPass(since: monotonicNanoseconds()) == true)
    #expect(try vale.report().choice == .filter(rules: "deny tcp"))
    vale[0].tx().unlock()
    #expect(throws: Never.self) { try vale.choose(.filter(rules: "deny sctp")) }
  }

  @Test(
    "random writes over the module's words crash no sender", arguments: 0..<3 as Range<UInt64>)
  func damage(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xda3a_0000 + number
    var generator = SeededGenerator(seed: seed)
    let vale = try TestSwitch(4)
    let memory = try #require(vale[0].mapped.vale).segment.memory
    // The two configuration areas, and behind them the senders' counters; each has 65,536 bytes.
    let areas = memory.byteCount - 3 * 65_536
    try vale.choose(.balancer(outputs: ["p1", "p2"]))
    for _ in 0..<400 {
      let kinds: [UInt64] = [0, 1, 2, 3, 4, 5, 6, 7, 200]
      memory.store(
        (kinds.randomElement(using: &generator) ?? 0) | generator.next() << 8, at: 128)
      for _ in 0..<20 {
        let place = generator.chance(30) ? 0 : 8 * Int.random(in: 0..<64, using: &generator)
        memory.store(
          generator.chance(50) ? generator.next() : generator.next() & 0xff,
          at: areas + (generator.chance(50) ? 65_536 : 0) + place)
      }
      for port in vale.ports {
        for _ in 0..<4 { port.tx().putPacket(IPFrame.random(&generator).bytes) }
        port.tx().sync()
      }
      _ = vale.takeAll()
      _ = try? vale.report()
    }
    try vale.choose(.learning)
    let frame = TestFrame(target: .broadcast, source: .station(1), number: 1)
    vale[0].tx().send(frame)
    #expect(
      vale.takeAll() == [[], [frame.bytes], [frame.bytes], [frame.bytes]],
      "NETMAP_TEST_SEED=\(seed)")
  }
}
