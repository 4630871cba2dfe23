import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Requests and descriptors that an untrusted user, who gets isolated ports only, can send to
/// root's daemon.
@Suite("Untrusted users", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct UntrustedAttackTests {
  @Test(
    "a connection to another user's listener does not let a process act as that user",
    arguments: [true, false])
  func forgedCredentials(_ isDaemonsOwn: Bool) throws {
    try HostileTestbed.run(isolates: true) { testbed in
      let service = "\(testbed.fixture.folder)/service.sock"
      if !isDaemonsOwn {
        #expect(try testbed.attack("listen \(service)", by: []).line == "ready")
      }
      let (_, line) = try testbed.attack("forge \(isDaemonsOwn ? testbed.fixture.socket : service)")
      #expect(line == "ready")
      try testbed.expectUnharmed("forged")
      #expect(
        try testbed.fixture.engine().listing().allSatisfy { !$0.name.hasPrefix("forged") },
        "a port was opened in another user's name")
      try testbed.expectRecovered("forged")
    }
  }

  @Test(
    "descriptors whose close blocks delay no other client",
    arguments: ["mailbox", "reply", "namespace", "extra", "unread", "client"])
  func lingering(_ way: String) throws {
    // The loopback interface of a private namespace.
    try NetworkNamespace.run {
      try HostileTestbed.run(isolates: true) { testbed in
        #expect(try testbed.attack("linger \(way) 12").line == "ready")
        for _ in 0..<5 {
          let time = try testbed.openTime()
          #expect(time < HostileTestbed.patience, "\(way): an open took \(time)")
          try testbed.expectUnharmed(way)
        }
        try testbed.expectRecovered(way)
      }
    }
  }

  @Test(
    "a connection that has asked for a port gets no other use: the port ends with it",
    arguments: [true, false])
  func registerThenHello(_ isUntrusted: Bool) throws {
    try HostileTestbed.run(isolates: true) { testbed in
      let user = isUntrusted ? HostileTestbed.untrusted : []
      let (program, line) = try testbed.attack("register-hello kept{1 20", by: user)
      #expect(line.hasPrefix("ready "), "\(line)")
      program.kill(SIGKILL)
      try testbed.expectRecovered("register, hello")
      _ = try NetmapPort("netmap:kept{1", engine: try testbed.fixture.engine())
    }
  }

  @Test("the daemon stops watching a mailbox that hung up, even if a process keeps a copy of it")
  func keptMailbox() throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      let (_, line) = try testbed.attack("kept-mailbox 20")
      #expect(line.hasPrefix("ready"), "\(line)")
      usleep(500_000)
      let before = try testbed.daemonTicks()
      usleep(1_000_000)
      let ticks = try testbed.daemonTicks() - before
      // A tick is a hundredth of a second.
      #expect(ticks < 15, "the daemon used \(ticks) ticks in a second")
      try testbed.expectUnharmed("kept mailboxes")
      try testbed.expectRecovered("kept mailboxes")
    }
  }

  @Test(
    "counters with the maximum value are shown, and crash no process",
    arguments: ["", "--json", "--check"])
  func counters(_ option: String) throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      #expect(try testbed.attack("full-counters count{1").line == "ready")
      let outcome = try TestProgram(
        [TestProgram.built("netmap"), "ports"] + (option.isEmpty ? [] : [option]),
        environment: ["NETMAP_SOCKET": testbed.fixture.socket]
      ).end()
      #expect(outcome.status == 0, "\(outcome)")
      try testbed.expectRecovered("full counters")
    }
  }

  @Test("the worker stops serving a closed port, even if its process goes on sending")
  func closedPorts() throws {
    try HostileTestbed.run(isolates: true) { testbed in
      let (program, line) = try testbed.attack("lingering vale9:c 60")
      #expect(line == "ready")
      #expect(program.readLine() == "carried 0\n")
      // The worker unmaps ports that have left a switch when it opens the next port there.
      let (next, answer) = try testbed.attack("lingering vale9:d 1")
      #expect(answer == "ready")
      #expect(next.readLine() == "carried 0\n")
      try testbed.expectRecovered("closed ports that send")
    }
  }

  @Test("silent connections do not keep other clients out")
  func silentConnections() throws {
    let limit = ["prlimit", "--nofile=512:512"]
    try HostileTestbed.run(isolates: true, [.pipe], wrapper: limit) { testbed in
      for _ in 0..<3 {
        let (_, line) = try testbed.attack("silent 400")
        #expect(line.hasPrefix("ready"), "\(line)")
      }
      for _ in 0..<5 {
        let time = try testbed.openTime()
        #expect(time < HostileTestbed.patience, "an open took \(time)")
      }
      // Another user than the attacker.
      let (_, line) = try testbed.attack("open other{1 0", by: HostileTestbed.user(65533))
      #expect(line.hasPrefix("got other{1"), "\(line)")
      try testbed.expectRecovered("silent connections")
    }
  }

  @Test("answers that an untrusted user does not receive do not accumulate")
  func unreadAnswers() throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      let (program, line) = try testbed.attack("leave-unread u%{1 100")
      #expect(line == "ready")
      let end = ContinuousClock.now + .seconds(1)
      var most = 0
      while ContinuousClock.now < end {
        most = max(most, try testbed.descriptorsUnderWay(to: program.process))
        #expect(try testbed.openTime() < HostileTestbed.patience)
      }
      if let broker = testbed.fixture.serving {
        let name = try TestProgram.output(of: ["cat", "/proc/\(broker)/comm"])
        #expect(name == "netmapd-broker\n")
      }
      // From 2024 descriptors of several users on the kernel blocks the sender.
      #expect(most > 0 && most <= 200, "\(most) descriptors wait for an untrusted user")
      // Another user than the attacker.
      let other = try testbed.attack("open other{1 0", by: HostileTestbed.user(65533)).line
      #expect(other.hasPrefix("got other{1"), "\(other)")
      // The daemon refuses the requests that it cannot decide, long before a client gives up.
      let answers = program.readLine()
      #expect(answers.hasPrefix("unanswered 0"), "\(answers)")
      try testbed.expectRecovered("unread answers")
    }
  }

  @Test("untrusted users may not check the memory of other users")
  func check() throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      let line = try testbed.attack("check").line
      #expect(line == "refused EPERM" || line == "refused EACCES", "\(line)")
      try testbed.expectRecovered("check")
    }
  }

  @Test("closed ports with views count towards their user's limit; other users can open ports")
  func neverForgotten() throws {
    let limit = ["prlimit", "--nofile=1024:1024"]
    try HostileTestbed.run(isolates: true, [.pipe], wrapper: limit) { testbed in
      let (_, line) = try testbed.attack("never-forget k%{1 1200")
      #expect(line.hasPrefix("ready"), "\(line)")
      let time = try testbed.openTime()
      #expect(time < HostileTestbed.patience)
      let check = try testbed.fixture.engine().check()
      #expect(check.kept <= 130, "\(check.kept) ports are kept for one user")
      try testbed.expectRecovered("never forgotten")
    }
  }

  @Test("exclusive opens of an untrusted user do not keep root from a name")
  func exclusive() throws {
    try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
      let flags = BindingFlags.exclusive.rawValue
      for name in ["x{1", "vale5:x"] {
        _ = try testbed.attack("open \(name) \(flags)")
        let port = name.hasPrefix("vale") ? name : "netmap:\(name)"
        #expect(throws: Never.self, "\(name)") {
          try NetmapPort(port, engine: try testbed.fixture.engine()).close()
        }
      }
      try testbed.expectRecovered("exclusive")
    }
  }

  @Test("root can open an interface, and an untrusted user cannot")
  func interface() throws {
    try NetworkNamespace.run {
      _ = try VethPair()
      try HostileTestbed.run(isolates: true, [.pipe]) { testbed in
        for flags in [0, BindingFlags.exclusive.rawValue] {
          let line = try testbed.attack("open v0 \(flags)").line
          #expect(line == "refused EPERM" || line == "refused EACCES", "\(line)")
          #expect(!InterfaceState("v0").hasXDPProgram)
          let port = try NetmapPort("netmap:v0", engine: try testbed.fixture.engine())
          port.close()
          // The daemon closes the interface a moment later.
          let end = ContinuousClock.now + .seconds(10)
          while InterfaceState("v0").hasXDPProgram, ContinuousClock.now < end { usleep(2000) }
        }
        try testbed.expectRecovered("interface")
      }
    }
  }

  @Test("descriptors that are not sockets of the client are not used as mailboxes or for answers")
  func oddDescriptors() throws {
    try HostileTestbed.run(isolates: true) { testbed in
      for attack in ["odd-mailbox 400", "odd-reply 160"] {
        for user in [HostileTestbed.untrusted, []] {
          let line = try testbed.attack(attack, by: user).line
          // The daemon refuses further connections of a user who has reached the limit.
          #expect(line == "ready" || line.contains("EMFILE"), "\(attack): \(line)")
          try testbed.expectUnharmed(attack)
        }
        testbed.endAttackers()
      }
      try testbed.expectRecovered("odd descriptors")
    }
  }

  @Test(
    "other clients are served in time while untrusted users send requests at full speed",
    arguments: ["list", "check", "port-info", "open"])
  func flood(_ kind: String) throws {
    try HostileTestbed.run(isolates: true) { testbed in
      func median() throws -> Duration {
        try (0..<15).map { _ in try testbed.openTime() }.sorted()[7]
      }
      let quiet = try median()
      for _ in 0..<2 { #expect(try testbed.attack("flood \(kind) 20").line == "ready") }
      let loud = try median()
      #expect(loud < quiet * 10 + .milliseconds(20), "\(kind): \(loud), \(quiet) without")
      try testbed.expectUnharmed(kind)
      try testbed.expectRecovered(kind)
    }
  }
}
