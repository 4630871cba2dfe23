import NetmapCore
import NetmapTestSupport
import Testing

/// Any process on a switch can write into its segments.
@Suite("VALE: damaged segments")
struct SwitchDamageTests {
  @Test(
    "random words written over a switch and its ports crash no process",
    arguments: 0..<4 as Range<UInt64>)
  func damage(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xdead_0000 + number
    var generator = SeededGenerator(seed: seed)
    let vale = try TestSwitch(4, hints: .slots(64))
    let other = try TestSwitch(2, hints: .slots(64))
    let segment = try #require(vale[0].mapped.vale).segment.memory
    for step in 0..<1500 {
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let word = generator.chance(50) ? generator.next() : generator.next() & 0x3f
        if generator.chance(40) {
          let places = (segment.byteCount - 64) / 8
          segment.store(word, at: 64 + 8 * Int.random(in: 0..<places, using: &generator))
        } else {
          damage(vale[Int.random(in: 0..<4, using: &generator)], word, &generator)
        }
      }
      for port in vale.ports {
        let tx = port.tx()
        if tx.space >= 3 {
          for count in 0..<3 as Range<UInt32> {
            tx.putPacket(
              TestFrame(
                target: generator.chance(50) ? .broadcast : .station(UInt8(count)),
                source: .station(UInt8(count)), number: count, length: 300
              ).bytes, in: generator.chance(30) ? [100, 200] : nil)
            if tx.space < 2 { break }
          }
        }
        tx.sync()
        let rx = port.rx()
        rx.sync()
        if rx.tail < rx.count { rx.move(to: rx.tail) }
        rx.sync()
        _ = (tx.counters, rx.counters)
      }
      if step % 100 == 0 {
        // A switch that shares no memory with the damaged one is not affected.
        let frame = TestFrame(target: .broadcast, source: .station(1), number: UInt32(step))
        other[0].tx().send(frame)
        try #require(other[1].rx().takePackets() == [frame.bytes], "NETMAP_TEST_SEED=\(seed)")
        vale.engine.finishLeases(of: vale[0].tag)
      }
    }
    for port in vale.ports { port.close() }
  }

  /// Writes a word over a kring, or over the leases behind them; not over a lock, because syncs would
  /// skip the ring.
  private func damage(_ port: TestPort, _ word: UInt64, _ generator: inout SeededGenerator) {
    let memory = port.registration.segment.memory
    let first = Int(unsafe port.registration.segment.offset(of: port.mapped.transmit(0).kring))
    let places = (memory.byteCount - first) / 8
    let place = Int.random(in: 0..<min(places, 512), using: &generator)
    guard place * 8 % KRingLayout.byteCount != 0 || place * 8 >= 2 * KRingLayout.byteCount else {
      return
    }
    memory.store(word, at: first + 8 * place)
  }
}
