import NetmapDaemon
import Testing

/// When netmapd takes a module host for one that hangs.
@Suite("Stalls of module hosts")
struct StallWatchTests {
  private static let millisecond: UInt64 = 1_000_000

  @Test("a host that leaves packets waiting is stalled for the time in which netmapd looked")
  func hangs() {
    var watch = StallWatch(at: 0)
    #expect(watch.look(7, isWaiting: true, at: 0))
    for number in 1...10 as ClosedRange<UInt64> {
      let now = number * 50 * Self.millisecond
      #expect(!watch.look(7, isWaiting: true, at: now))
      #expect(watch.stalled == now)
    }
    #expect(watch.look(8, isWaiting: true, at: 600 * Self.millisecond))
    #expect(watch.stalled == 0)
  }

  @Test("time in which netmapd did not look is not the host's")
  func starvedDaemon() {
    var watch = StallWatch(at: 0)
    #expect(watch.look(7, isWaiting: false, at: 0))
    // The packets may have arrived a moment before this look.
    #expect(!watch.look(7, isWaiting: true, at: 3000 * Self.millisecond))
    #expect(watch.stalled == StallWatch.lookMax)
    #expect(watch.look(7, isWaiting: false, at: 3050 * Self.millisecond))
    #expect(watch.stalled == 0)
  }
}
