import NetmapCore
import NetmapTestSupport
import Testing

@Suite("VALE: against a simple model")
struct SwitchModelTests {
  /// Addresses that do not share a place in the switch's table.
  private static func pool(_ count: Int) -> [Address] {
    var places: Set<Int> = []
    return (0...255).map { Address.station(UInt8($0)) }
      .filter { unsafe places.insert(SwitchView.place(of: $0)).inserted }
      .prefix(count).map { $0 }
  }

  @Test(
    "random ports, frames, headers and back-pressure, attaching and leaving",
    arguments: 0..<8 as Range<UInt64>)
  func random(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0x5eed_0000 + number
    // Half of the runs have no headers and no back-pressure, to test the usual path as well.
    var run = try ModelRun(seed: seed, isPlain: number % 2 == 0, pool: Self.pool(12))
    for step in 0..<600 { try run.step(step) }
    try run.finish()
  }
}

/// One random test of a switch against its model.
private struct ModelRun {
  private let seed: UInt64
  private let isPlain: Bool
  private let pool: [Address]
  private let engine: Engine
  private var generator: SeededGenerator
  private var model = SwitchModel()
  private var ports: [Int: TestPort] = [:]
  private var sequence: UInt32 = 0

  init(seed: UInt64, isPlain: Bool, pool: [Address]) throws {
    self.seed = seed
    self.isPlain = isPlain
    self.pool = pool
    generator = SeededGenerator(seed: seed)
    engine = try Engine()
  }

  mutating func step(_ step: Int) throws {
    let context = "NETMAP_TEST_SEED=\(seed), step \(step)"
    let number = Int.random(in: 0..<8, using: &generator)
    switch Int.random(in: 0..<10, using: &generator) {
    case 0 where ports[number] == nil, 1 where ports[number] == nil: try attach(number)
    case 2 where generator.chance(30):
      ports.removeValue(forKey: number)?.close()
      model.detach(number)
    case 2 where !isPlain: try setHeader(number)
    case 3...6: try send(number, context)
    default: try receive(number, context)
    }
  }

  private mutating func attach(_ number: Int) throws {
    let slots = [8, 32, 1024].randomElement(using: &generator) ?? 8
    let holds = !isPlain && generator.chance(40)
    ports[number] = try TestPort(
      engine, "vale0:p\(number)",
      flags: .acceptVirtioNetHeader, extensions: holds ? .backpressure : [],
      hints: .slots(UInt32(slots)))
    model.attach(number, slots: slots, holds: holds)
  }

  /// Changes nothing while packets wait, because they have the old header.
  private mutating func setHeader(_ number: Int) throws {
    guard ports[number] != nil, model.ports[number]?.pending.isEmpty == true else { return }
    let length = [0, 0, 10, 12].randomElement(using: &generator) ?? 0
    _ = try engine.answer(.setHeader(try PortName("vale0:p\(number)"), length: length))
    model.ports[number]?.header = length
  }

  private mutating func send(_ number: Int, _ context: String) throws {
    guard let port = ports[number], let header = model.ports[number]?.header else { return }
    // Packets of one flow or of several: the switch has a separate path for flow runs.
    let flow = (
      pool.randomElement(using: &generator) ?? 0, pool.randomElement(using: &generator) ?? 0
    )
    let isFlow = generator.chance(50)
    for _ in 0..<Int.random(in: 1...(isFlow ? 60 : 12), using: &generator) {
      let pieces = generator.chance(isFlow ? 2 : 20) ? Int.random(in: 2...4, using: &generator) : 1
      let isApart = header > 0 && generator.chance(30)
      guard Int(port.tx().space) >= pieces + 1 else { break }
      var sizes = (0..<pieces).map { _ in
        Int.random(in: 14...(pieces == 1 ? 1514 : 200), using: &generator)
      }
      if generator.chance(3) { sizes = [Int.random(in: 1...13, using: &generator)] }
      var (target, source) = flow
      if !isFlow || generator.chance(3) {
        target = generator.chance(25) ? .broadcast : pool.randomElement(using: &generator) ?? 0
        source = pool.randomElement(using: &generator) ?? 0
      }
      let frame = TestFrame(
        target: target, source: source, number: sequence, length: sizes.reduce(0, +))
      sequence += 1
      if isApart { sizes.insert(header, at: 0) } else { sizes[0] += header }
      let bytes = [UInt8](repeating: 0, count: header) + frame.bytes
      port.tx().putPacket(bytes, in: sizes)
      var rest = bytes[...]
      model.ports[number]?.pending.append(
        sizes.map { size in
          defer { rest = rest.dropFirst(size) }
          return Array(rest.prefix(size))
        })
    }
    port.tx().sync()
    model.sync(number)
    let waiting = model.ports[number]?.pending.reduce(0) { $0 + $1.count } ?? 0
    try #require(
      Int(port.tx().space) == Int(port.tx().count) - 1 - waiting, "\(context): waiting slots")
  }

  private mutating func receive(_ number: Int, _ context: String) throws {
    guard let port = ports[number] else { return }
    let expected = model.ports[number]?.queue ?? []
    try #require(port.rx().takePackets() == expected.map { $0.flatMap(\.self) }, "\(context)")
    model.ports[number]?.queue = []
  }

  /// Takes all packets, and compares the counters.
  mutating func finish() throws {
    for _ in 0..<1000 where model.ports.values.contains(where: { !$0.pending.isEmpty }) {
      for number in ports.keys.sorted() { try receive(number, "NETMAP_TEST_SEED=\(seed), end") }
      for (number, port) in ports {
        port.tx().sync()
        model.sync(number)
      }
    }
    for (number, port) in ports {
      let context = "NETMAP_TEST_SEED=\(seed), at the end, port \(number)"
      try receive(number, context)
      let expected = try #require(model.ports[number]).counts
      let (tx, rx) = (port.tx().counters, port.rx().counters)
      var found = SwitchModel.Counts()
      found.sent = Int(tx.packets)
      found.broadcasts = Int(tx.broadcasts)
      found.copies = Int(tx.copies)
      found.tooShort = Int(tx.drops[.tooShort])
      found.noDestination = Int(tx.drops[.noDestination])
      found.ringFull = Int(rx.drops[.ringFull])
      found.received = Int(rx.packets)
      #expect(found == expected, "\(context)")
      #expect(
        Int(tx.drops.total) == found.tooShort + found.noDestination
          && Int(rx.drops.total) == found.ringFull, "\(context)")
    }
  }
}
