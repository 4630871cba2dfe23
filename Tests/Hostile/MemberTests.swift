import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Attacks by a member of the trust domain on the daemon and on other processes, beyond damage to the packets
/// of their own ports.
@Suite("Members", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct MemberTests {
  @Test(
    "a process that loses its connection to the daemon keeps its locks while it lives",
    arguments: ["bad-message", "hang-up"])
  func lockAndLive(_ way: String) throws {
    try HostileTestbed.run(isolates: false, [.pipe]) { testbed in
      let (program, line) = try testbed.attack("lock-and-live locked{1 \(way)")
      #expect(line == "the lock is held")
      program.kill(SIGKILL)
      try testbed.expectRecovered(way)
    }
  }

  @Test("a lease with the highest sequence number can be finished")
  func lastSequence() throws {
    try HostileTestbed.run(isolates: false, [.pipe, .vale]) { testbed in
      let (program, line) = try testbed.attack("last-sequence vale7:x")
      #expect(line == "ready")
      program.wait()
      try testbed.expectUnharmed("last sequence")
      try testbed.expectRecovered("last sequence")
    }
  }

  @Test("a circular, changing list of extra buffers delays no other client")
  func circle() throws {
    // Each round has an interface of its own: the kernel keeps a queue for a while after its netmapd was killed.
    for _ in 0..<hostileRounds {
      try NetworkNamespace.run {
        _ = try VethPair()
        try HostileTestbed.run(isolates: false, [.pipe], rounds: 1) { testbed in
          let (program, line) = try testbed.attack("circle v0 6")
          #expect(line == "ready")
          // The daemon must answer requests while the list is rewritten: the attacker continues until the test
          // sends a signal, or for ten seconds.
          var said = program.readLine()
          var rounds = 0
          while said == "closed\n" {
            for _ in 0..<3 { _ = try testbed.openTime() }
            program.send(SIGUSR1)
            let end = program.readLine()
            try #require(
              end == "told\n", "round \(rounds): an open waited, and the attacker \(end)")
            rounds += 1
            said = program.readLine()
          }
          #expect(rounds > 0)
          // Buffers that are not in the list when the daemon reclaims it are missing until no process has an
          // interface open; in the end the daemon refuses the attacker.
          #expect(said == "done\n" || said.contains("refused ENOMEM"), "\(said)")
          try testbed.expectRecovered("circle")
        }
      }
    }
  }

  @Test(
    "a process that does not read its mailbox does not cost the daemon more and more descriptors")
  func unreadMail() throws {
    try HostileTestbed.run(isolates: false, [.pipe]) { testbed in
      let idle = try testbed.fixture.peer(["hold", "vale7:idle"])
      let before = try testbed.fixture.daemonDescriptors()
      // Each open and each close causes several descriptors of mail.
      let line = try testbed.attack("reopen vale7:busy 400").line
      #expect(line == "reopened 400")
      let descriptors = try testbed.fixture.daemonDescriptors()
      #expect(descriptors <= before + 64, "\(descriptors) descriptors, \(before) before")
      // From 2024 descriptors on the kernel blocks the sender.
      let underWay = try testbed.descriptorsUnderWay(to: idle.process)
      #expect(underWay > 0 && underWay <= 300, "\(underWay) descriptors wait for one process")
      try testbed.expectUnharmed("unread mail")
      idle.kill(SIGKILL)
      try testbed.expectRecovered("unread mail")
    }
  }

  @Test("processes that do not read their mailboxes block no other process of their user")
  func unreadMailOfOthers() throws {
    try HostileTestbed.run(isolates: false, [.pipe]) { testbed in
      for number in 0..<12 {
        let line = try testbed.attack("open vale7:idle\(number) 0").line
        #expect(line.hasPrefix("got"), "\(line)")
      }
      let line = try testbed.attack("reopen vale7:busy 100").line
      #expect(line == "reopened 100")
      try testbed.expectRecovered("unread mail of others")
    }
  }

  @Test("the worker accesses no memory of a closed port, even if its wait words name sleepers")
  func wakeTheGone() throws {
    try HostileTestbed.run(isolates: false, [.pipe, .isolated]) { testbed in
      let (_, line) = try testbed.attack("wake-the-gone vale7 10", by: [])
      #expect(line == "ready")
      try testbed.expectUnharmed("wake the gone")
      try testbed.expectRecovered("wake the gone")
    }
  }

  @Test(
    "a forged lock keeps no memory of closed ports",
    arguments: ["own", "worker"], ["own", "worker"])
  func falseLock(holder: String, place: String) throws {
    try HostileTestbed.run(isolates: false, [.pipe, .isolated]) { testbed in
      // The first run has the worker map its own memory.
      _ = try testbed.attack("false-lock vale6 1 own worker", by: [])
      let before = testbed.daemonMappings
      let process = try #require(testbed.fixture.serving)
      let tag = holder == "own" ? "own" : "\(process)"
      let (_, line) = try testbed.attack("false-lock vale7 300 \(tag) \(place)", by: [])
      #expect(line == "ready")
      try testbed.expectUnharmed("false lock")
      // The process that wrote the lock is still alive.
      let end = ContinuousClock.now + .seconds(6)
      while testbed.daemonMappings > before + 64, ContinuousClock.now < end { usleep(20_000) }
      let mapped = testbed.daemonMappings
      // A process that locks its own ring delays only the release of its own memory.
      if holder != "own" || place != "own" {
        #expect(mapped <= before + 64, "\(mapped) mappings, \(before) before")
      }
      try testbed.expectRecovered("false lock")
    }
  }

  @Test("ports of one name that were closed and not forgotten leave room for other ports")
  func neverForgotten() throws {
    try HostileTestbed.run(isolates: false, [.pipe]) { testbed in
      let (_, line) = try testbed.attack("never-forget n{1 300")
      #expect(line.hasPrefix("ready"), "\(line)")
      for name in ["netmap:n}1", "netmap:n{2"] {
        #expect(throws: Never.self, "\(name)") {
          try NetmapPort(name, engine: try testbed.fixture.engine()).close()
        }
      }
      try testbed.expectRecovered("never forgotten")
    }
  }
}
