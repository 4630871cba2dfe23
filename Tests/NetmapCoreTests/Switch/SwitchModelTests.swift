import NetmapCore
import NetmapTestSupport
import Testing

/// The simplest switch there is: what the real one must agree with.
private struct SwitchModel {
  struct Port {
    var index: Int
    /// Free slots of the receive ring, and what is in it.
    var slots: Int
    var queue: [(bytes: [UInt8], slots: Int)] = []
    var held: Int { queue.reduce(0) { $0 + $1.slots } }
    var dropped = 0
  }

  var ports: [Int: Port] = [:]
  var addresses: [Address: Int] = [:]
  private var freeIndexes = Array((0..<254).reversed())

  mutating func attach(_ number: Int, slots: Int) {
    ports[number] = Port(index: freeIndexes.removeLast(), slots: slots)
  }

  mutating func detach(_ number: Int) {
    guard let port = ports.removeValue(forKey: number) else { return }
    freeIndexes.append(port.index)
    // A switch is forgotten with its last port.
    if ports.isEmpty {
      addresses = [:]
      freeIndexes = Array((0..<254).reversed())
    }
  }

  /// One sync: the packets in order, each with the slots it takes.
  mutating func send(_ packets: [(frame: TestFrame, sizes: [Int])], from number: Int) {
    guard let sender = ports[number]?.index else { return }
    // Who has no room for one packet gets none of those that follow in the sync.
    var isFull: Set<Int> = []
    for (frame, sizes) in packets {
      guard sizes[0] >= 14 else { continue }
      if frame.source & 1 == 0 { addresses[frame.source] = sender }
      let known = frame.target & 1 == 0 ? addresses[frame.target] : nil
      for (receiver, port) in ports where port.index != sender {
        if let known, port.index != known { continue }
        if isFull.contains(receiver) || port.held + sizes.count > port.slots - 1 {
          isFull.insert(receiver)
          ports[receiver]?.dropped += 1
        } else {
          ports[receiver]?.queue.append((frame.bytes, sizes.count))
        }
      }
    }
  }
}

@Suite("VALE: against a simple model")
struct SwitchModelTests {
  /// Addresses that do not share a place in the switch's table.
  private static func pool(_ count: Int) -> [Address] {
    var places: Set<Int> = []
    return (0...255).map { Address.station(UInt8($0)) }
      .filter { unsafe places.insert(BridgeView.place(of: $0)).inserted }
      .prefix(count).map { $0 }
  }

  @Test("random ports, frames, attaching and leaving", arguments: 0..<6 as Range<UInt64>)
  func random(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0x5eed_0000 + number
    var generator = SeededGenerator(seed: seed)
    let engine = try Engine()
    var model = SwitchModel()
    var ports: [Int: TestPort] = [:]
    let pool = Self.pool(12)
    var sequence: UInt32 = 0
    for step in 0..<600 {
      let place = "NETMAP_TEST_SEED=\(seed), step \(step)"
      let number = Int.random(in: 0..<8, using: &generator)
      switch Int.random(in: 0..<10, using: &generator) {
      case 0 where ports[number] == nil, 1 where ports[number] == nil:
        let slots = [8, 32, 1024].randomElement(using: &generator) ?? 8
        ports[number] = try TestPort(engine, "vale0:p\(number)", hints: .slots(UInt32(slots)))
        model.attach(number, slots: slots)
      case 2 where generator.chance(30):
        ports.removeValue(forKey: number)?.close()
        model.detach(number)
      case 3...6:
        guard let port = ports[number] else { continue }
        var packets: [(TestFrame, [Int])] = []
        for _ in 0..<Int.random(in: 1...12, using: &generator) {
          let pieces = generator.chance(20) ? Int.random(in: 2...4, using: &generator) : 1
          guard Int(port.tx().space) >= pieces else { break }
          var sizes = (0..<pieces).map { _ in
            Int.random(in: 14...(pieces == 1 ? 1514 : 200), using: &generator)
          }
          if generator.chance(3) { sizes = [Int.random(in: 1...13, using: &generator)] }
          let frame = TestFrame(
            target: generator.chance(25) ? .broadcast : pool.randomElement(using: &generator) ?? 0,
            source: pool.randomElement(using: &generator) ?? 0, number: sequence,
            length: sizes.reduce(0, +))
          sequence += 1
          packets.append((frame, sizes))
          port.tx().putPacket(frame.bytes, in: sizes)
        }
        port.tx().sync()
        #expect(port.tx().space == port.tx().count - 1, "\(place)")
        model.send(packets, from: number)
      default:
        guard let port = ports[number] else { continue }
        let expected = model.ports[number]?.queue.map(\.bytes) ?? []
        try #require(port.rx().takePackets() == expected, "\(place)")
        model.ports[number]?.queue = []
      }
    }
    for (number, port) in ports {
      let last = "NETMAP_TEST_SEED=\(seed), at the end, port \(number)"
      try #require(
        port.rx().takePackets() == model.ports[number]?.queue.map(\.bytes) ?? [], "\(last)")
      #expect(
        port.rx().counters.drops.total == UInt64(model.ports[number]?.dropped ?? 0), "\(last)")
    }
  }
}
