import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Doorbells that an attacker fills, damages, rings without reason, or never watches.
@Suite("Doorbells under attack", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct BellTests {
  @Test("the daemon rings no doorbell that it can have to wait for", arguments: [true, false])
  func ringsOnRequest(_ isStranger: Bool) throws {
    try HostileStage.run(isolates: true) { stage in
      for flags in isStranger ? [0] : [0, BindingFlags.isolated.rawValue] {
        let user = isStranger ? HostileStage.stranger : []
        let line = try stage.attack("bell-ring full{1 \(flags)", by: user).line
        #expect(line == "ready")
        try stage.expectUnharmed("filled, then rung")
        stage.endAttackers()
      }
      try stage.expectRecovered("filled, then rung")
    }
  }

  @Test(
    "a member's doorbell stops nobody who rings it", arguments: ["fill", "shut", "files", "small"])
  func lure(_ way: String) throws {
    try HostileStage.run(isolates: false) { stage in
      for (name, other, flags) in [
        ("lure{1", "netmap:lure}1", UInt64(0)),
        ("apart2{1", "netmap:apart2}1/i", BindingFlags.isolated.rawValue),
      ] {
        #expect(try stage.attack("bell-lure \(name) \(flags) \(way)", by: []).line == "ready")
        let (honest, line) = try stage.attack("bell-honest \(other) 400", by: [])
        #expect(line == "ready")
        #expect(honest.readLine() == "passed 400\n", "\(way): \(other) does not go on")
        try stage.expectServing(way)
      }
      try stage.expectRecovered(way)
    }
  }

  @Test(
    "a stranger's doorbell stops nobody who rings it",
    arguments: ["fill", "shut", "files", "small"])
  func strangersLure(_ way: String) throws {
    try HostileStage.run(isolates: true) { stage in
      #expect(try stage.attack("bell-lure lure{1 0 \(way)").line == "ready")
      usleep(500_000)
      try stage.expectUnharmed(way)
      try stage.expectRecovered(way)
    }
  }

  @Test("a stranger's wait words make the worker ring nobody else")
  func othersAreNotRung() throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      let (victim, line) = try stage.attack("bell-quiet quiet{1", by: HostileStage.user(65533))
      let number = line.split(separator: " ").last.map(String.init) ?? ""
      #expect(line.hasPrefix("ready"), "\(line)")
      #expect(try stage.attack("bell-others loud{1 \(number)").line == "ready")
      #expect(victim.readLine() == "quiet\n")
      try stage.expectRecovered("other's numbers")
    }
  }

  @Test("a stranger that was rung and did not look is woken when it does")
  func unread() throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      let (program, line) = try stage.attack("bell-unread unread 20000")
      #expect(line == "ready")
      let said = program.readLine().split(separator: " ")
      let time = said.count > 2 ? Int(said[2]) ?? .max : .max
      // The sender sleeps for 100 ms of this time.
      #expect(time < 400, "\(said)")
      try stage.expectRecovered("unread rings")
    }
  }

  @Test("rings for nothing cost the worker little")
  func storm() throws {
    // No other process has work for the worker.
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      #expect(try stage.attack("bell-storm storm 40").line == "ready")
      usleep(500_000)
      let before = try stage.daemonTicks()
      usleep(2_000_000)
      let ticks = try stage.daemonTicks() - before
      // A tick is a hundredth of a second.
      #expect(ticks < 40, "\(ticks) ticks in two seconds")
      try stage.expectUnharmed("storm")
      try stage.expectRecovered("storm")
    }
  }

  @Test("rings for nothing keep nobody else's packets waiting")
  func stormBesideOthers() throws {
    try HostileStage.run(isolates: true, [.isolated]) { stage in
      func passed() -> UInt64 {
        stage.bystanders.map { pair in
          let before = pair.received
          usleep(500_000)
          return pair.received - before
        }.min() ?? 0
      }
      let quiet = passed()
      #expect(try stage.attack("bell-storm storm 40").line == "ready")
      let loud = passed()
      #expect(loud > quiet / 3, "\(loud) packets, \(quiet) without")
      try stage.expectUnharmed("storm")
      try stage.expectRecovered("storm")
    }
  }
}
