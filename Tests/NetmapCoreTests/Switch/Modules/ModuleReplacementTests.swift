import Glibc
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

@Suite("VALE modules: replaced under traffic")
struct ModuleReplacementTests {
  /// The number of changes to make while packets are in flight.
  private static let changesWanted: UInt64 = 100

  @Test("while modules and configurations change, no packet is lost, repeated or out of order")
  func underTraffic() throws {
    let vale = try TestSwitch(2)
    let counts = Shared()
    nonisolated(unsafe) let shared = vale[0]
    nonisolated(unsafe) let programmed = vale
    let thread = BackgroundThread {
      let port = unsafe shared
      var number: UInt64 = 0
      while !counts.isOver.load(ordering: .relaxed) {
        let room = min(64, 900 - (number - counts.taken.load(ordering: .acquiring)))
        if room == 0 {
          sched_yield()
          continue
        }
        for step in 0..<room {
          var frame = IPFrame()
          // The number is in the source port, which no filter rule of the test checks.
          frame.ports = (UInt16(truncatingIfNeeded: number + step), 2000)
          port.tx().putPacket(frame.bytes)
        }
        port.tx().sync()
        number += room
        counts.sent.store(number, ordering: .releasing)
      }
    }
    let changer = BackgroundThread {
      var round = 0
      while !counts.isOver.load(ordering: .relaxed) {
        round += 1
        let choices: [SwitchModuleChoice] = [
          .hub, .filter(rules: "deny tcp\ndefault allow"), .balancer(outputs: ["p1"]), .learning,
          .filter(rules: "allow udp from 10.0.0.0/\(round % 25)\ndefault deny"),
        ]
        do {
          if round % 6 == 5 {
            try unsafe programmed.install(LearningModule())
          } else {
            try unsafe programmed.choose(choices[round % choices.count])
          }
          counts.changes.add(1, ordering: .relaxed)
        } catch {
          // A sync in progress may be reading the area to be overwritten.
          if (error as? NetmapError)?.code != .busy { Issue.record("\(error)") }
        }
        usleep(50)
      }
    }
    var (expected, misplaced): (UInt64, Int) = (0, 0)
    // Runs for at least half a second, and until there were enough changes: a busy machine delays them.
    let begin = monotonicNanoseconds()
    func goesOn() -> Bool {
      let time = monotonicNanoseconds() - begin
      let hasEnough = counts.changes.load(ordering: .relaxed) >= Self.changesWanted
      return hasEnough ? time < 500_000_000 : time < 120_000_000_000
    }
    func take() {
      for packet in vale[1].rx().takePackets() {
        let number = UInt16(packet[34]) << 8 | UInt16(packet[35])
        if number != UInt16(truncatingIfNeeded: expected) { misplaced += 1 }
        expected += 1
      }
      counts.taken.store(expected, ordering: .releasing)
    }
    while goesOn() { take() }
    counts.isOver.store(true, ordering: .relaxed)
    thread.join()
    changer.join()
    take()
    #expect(misplaced == 0)
    #expect(expected == counts.sent.load(ordering: .acquiring))
    #expect(vale[0].tx().counters.drops.total == 0)
    #expect(vale[1].rx().counters.drops.total == 0)
    #expect(try vale.report()["changes"] ?? 0 >= Self.changesWanted)
    #expect(expected > 0)
  }

  private final class Shared: Sendable {
    let sent = Atomic<UInt64>(0)
    let taken = Atomic<UInt64>(0)
    let changes = Atomic<UInt64>(0)
    let isOver = Atomic<Bool>(false)
  }
}
