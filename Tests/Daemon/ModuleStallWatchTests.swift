import NetmapDaemon
import Testing

/// When netmapd takes a module host for one that hangs.
@Suite("Stalls of module hosts")
struct ModuleStallWatchTests {
  private static let millisecond: UInt64 = 1_000_000

  @Test("a host that leaves packets waiting is stalled for the time in which netmapd looked")
  func hangs() {
    var watch = ModuleStallWatch(at: 0)
    let hasBegun = watch.look(7, isWaiting: true, at: 0)
    #expect(hasBegun)
    for number in 1...10 as ClosedRange<UInt64> {
      let now = number * 50 * Self.millisecond
      let hasGoneOn = watch.look(7, isWaiting: true, at: now)
      #expect(!hasGoneOn)
      #expect(watch.stalled == now)
    }
    let goesOn = watch.look(8, isWaiting: true, at: 600 * Self.millisecond)
    #expect(goesOn)
    #expect(watch.stalled == 0)
  }

  @Test("time in which netmapd did not look is not the host's")
  func starvedDaemon() {
    var watch = ModuleStallWatch(at: 0)
    let wasIdle = watch.look(7, isWaiting: false, at: 0)
    #expect(wasIdle)
    // The packets may have arrived a moment before this look.
    let hasProgress = watch.look(7, isWaiting: true, at: 3000 * Self.millisecond)
    #expect(!hasProgress)
    #expect(watch.stalled == ModuleStallWatch.lookMax)
    let isIdle = watch.look(7, isWaiting: false, at: 3050 * Self.millisecond)
    #expect(isIdle)
    #expect(watch.stalled == 0)
  }
}
