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

@Suite("VALE: several senders, and ports that leave")
struct SwitchLeaseTests {
  @Test("three senders to one reader: whatever there was room for arrives, each sender's in order")
  func threeSenders() throws {
    let engine = try Engine()
    let receiver = try TestPort(engine, "vale0:r")
    let perSender: UInt32 = 20_000
    let window: UInt64 = 300
    // Each sender has no more under way than a third of the ring, so there always is room.
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
}
