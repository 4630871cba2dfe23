import NetmapCore
import NetmapTestSupport
import Testing

@Suite("VALE: counters")
struct SwitchCounterTests {
  @Test(
    "over all ports, sent is delivered plus dropped, by reason",
    arguments: 0..<4 as Range<UInt64>)
  func balance(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xc0_0000 + number
    var generator = SeededGenerator(seed: seed)
    let engine = try Engine()
    // Two transmit-only ports, one with a header, two with back-pressure, two without options.
    let flags: [BindingFlags] = [
      [], [], [], [.transmitOnly], [.acceptVirtioNetHeader], [], [.transmitOnly],
    ]
    let ports = try flags.enumerated().map {
      try TestPort(
        engine, TestSwitch.name($0.offset), flags: $0.element,
        extensions: [2, 5].contains($0.offset) ? .backpressure : [],
        hints: .slots([16, 64, 256].randomElement(using: &generator) ?? 64))
    }
    _ = try engine.answer(.setHeader(try PortName(TestSwitch.name(4)), length: 12))
    var damaged = ports.map { _ in [(index: UInt32, buffer: UInt32)]() }
    for _ in 0..<800 {
      let sender = Int.random(in: 0..<ports.count, using: &generator)
      let tx = ports[sender].tx()
      for _ in 0..<Int.random(in: 1...12, using: &generator) where tx.space > 3 {
        let target =
          generator.chance(20)
          ? Address.broadcast : .station(.random(in: 0...9, using: &generator))
        let frame = TestFrame(
          target: target, source: .station(UInt8(sender)), number: 1,
          length: generator.chance(5)
            ? Int.random(in: 0..<14, using: &generator)
            : Int.random(in: 14...1500, using: &generator))
        let header = sender == 4 ? [UInt8](repeating: 0, count: 12) : []
        let index = tx.head
        tx.putPacket(header + frame.bytes)
        if generator.chance(2) { tx[index].length = 5000 }
        if generator.chance(2) {
          damaged[sender].append((index, tx[index].bufferIndex))
          tx[index].bufferIndex = .max
        }
      }
      tx.sync()
      if tx.hwcur == tx.head {
        for (index, buffer) in damaged[sender] { tx[index].bufferIndex = buffer }
        damaged[sender] = []
      }
      if generator.chance(40) {
        let reader = ports[Int.random(in: 0..<ports.count, using: &generator)]
        if reader.mapped.receiveCount > 0 { _ = reader.rx().takePackets() }
      }
    }
    // Packets that wait arrive as soon as there is room.
    for _ in 0..<2000 where ports.contains(where: { $0.tx().hwcur != $0.tx().head }) {
      for port in ports {
        if port.mapped.receiveCount > 0 { _ = port.rx().takePackets() }
        port.tx().sync()
      }
    }
    try #require(!ports.contains { $0.tx().hwcur != $0.tx().head }, "NETMAP_TEST_SEED=\(seed)")
    for (port, slots) in zip(ports, damaged) {
      for (index, buffer) in slots { port.tx()[index].bufferIndex = buffer }
    }
    for port in ports where port.mapped.receiveCount > 0 { _ = port.rx().takePackets() }
    var (sent, received) = (RingCounters(), RingCounters())
    for port in ports {
      sent += port.tx().counters
      // Transmit-only ports count the packets that did not reach them.
      received += counters(of: port)
    }
    #expect(
      sent.packets - sent.broadcasts + sent.copies
        == received.packets + received.drops.total + sent.drops.total,
      "NETMAP_TEST_SEED=\(seed)")
    for reason in [.tooShort, .noDestination, .badLength, .badBufferIndex] as [DropReason] {
      #expect(sent.drops[reason] > 0, "\(reason)")
    }
    for reason in [.ringFull, .noReceiver] as [DropReason] {
      #expect(received.drops[reason] > 0, "\(reason)")
    }
    for port in ports where port.mapped.record.extensions.contains(.backpressure) {
      #expect(port.rx().counters.drops.total == 0)
    }
  }

  /// The receive counters of a port; for a transmit-only port, its drops.
  private func counters(of port: TestPort) -> RingCounters {
    if port.mapped.receiveCount > 0 { return port.rx().counters }
    var result = RingCounters()
    if let place = port.registration.place { result.drops = place.unreached }
    return result
  }
}
