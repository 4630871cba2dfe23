import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Doorbells that an attacker fills, damages, rings without reason, or never watches.
@Suite("Doorbells under attack", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct BellTests {
  @Test("the daemon rings no doorbell that could block it", arguments: [true, false])
  func ringsOnRequest(_ isUntrusted: Bool) throws {
    try HostileTestbed.run(isolates: true) { testbed in
      for flags in isUntrusted ? ["0"] : ["0", "isolated"] {
        let user = isUntrusted ? HostileTestbed.untrusted : []
        let line = try testbed.attack("bell-ring full{1 \(flags)", by: user).line
        #expect(line == "ready")
        try testbed.expectUnharmed("filled, then rung")
        testbed.endAttackers()
      }
      try testbed.expectRecovered("filled, then rung")
    }
  }

  @Test(
    "a member's doorbell blocks no process that rings it",
    arguments: ["fill", "shut", "files", "small"])
  func lure(_ way: String) throws {
    try HostileTestbed.run(isolates: false) { testbed in
      for (name, other, flags) in [
        ("lure{1", "netmap:lure}1", "0"),
        ("apart2{1", "netmap:apart2}1/i", "isolated"),
      ] {
        #expect(try testbed.attack("bell-lure \(name) \(flags) \(way)", by: []).line == "ready")
        let (honest, line) = try testbed.attack("bell-honest \(other) 400", by: [])
        #expect(line == "ready")
        #expect(honest.readLine() == "passed 400\n", "\(way): \(other) does not go on")
        try testbed.expectServing(way)
      }
      try testbed.expectRecovered(way)
    }
  }

  @Test(
    "an untrusted user's doorbell blocks no process that rings it",
    arguments: ["fill", "shut", "files", "small"])
  func untrustedLure(_ way: String) throws {
    try HostileTestbed.run(isolates: true) { testbed in
      #expect(try testbed.attack("bell-lure lure{1 0 \(way)").line == "ready")
      usleep(500_000)
      try testbed.expectUnharmed(way)
      try testbed.expectRecovered(way)
    }
  }

  @Test("an untrusted user's wait words do not make the worker ring other users")
  func othersAreNotRung() throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      let (victim, line) = try testbed.attack("bell-quiet quiet{1", by: HostileTestbed.user(65533))
      let number = line.split(separator: " ").last.map(String.init) ?? ""
      #expect(line.hasPrefix("ready"), "\(line)")
      #expect(try testbed.attack("bell-others loud{1 \(number)").line == "ready")
      #expect(victim.readLine() == "quiet\n")
      try testbed.expectRecovered("other's numbers")
    }
  }

  @Test("an untrusted user that has not read its rings is still woken for the next packet")
  func unread() throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      let (program, line) = try testbed.attack("bell-unread unread 20000")
      #expect(line == "ready")
      let said = program.readLine().split(separator: " ")
      let time = said.count > 2 ? Int(said[2]) ?? .max : .max
      // The sender sleeps for 100 ms of this time. A ring that is lost costs a second.
      #expect(time < 800, "\(said)")
      try testbed.expectRecovered("unread rings")
    }
  }

  @Test("spurious rings cost the worker little")
  func storm() throws {
    // No other process has work for the worker.
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      #expect(try testbed.attack("bell-storm storm 40").line == "ready")
      usleep(500_000)
      let before = try testbed.daemonTicks()
      usleep(2_000_000)
      let ticks = try testbed.daemonTicks() - before
      // A tick is a hundredth of a second.
      #expect(ticks < 40, "\(ticks) ticks in two seconds")
      try testbed.expectUnharmed("storm")
      try testbed.expectRecovered("storm")
    }
  }

  @Test("spurious rings do not delay other users' packets")
  func stormBesideOthers() throws {
    try HostileTestbed.run(isolates: true, [.isolated]) { testbed in
      func passed() -> UInt64 {
        testbed.bystanders.map { pair in
          let before = pair.received
          usleep(500_000)
          return pair.received - before
        }.min() ?? 0
      }
      let quiet = passed()
      #expect(try testbed.attack("bell-storm storm 40").line == "ready")
      let loud = passed()
      testbed.endAttackers()
      // The machine may have become busier meanwhile.
      let after = passed()
      #expect(loud > min(quiet, after) / 3, "\(loud) packets, \(quiet) before, \(after) afterwards")
      try testbed.expectUnharmed("storm")
      try testbed.expectRecovered("storm")
    }
  }
}
