import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Requests and descriptors that an untrusted user, who gets isolated ports only, can send to
/// root's daemon.
@Suite("Strangers", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct StrangerTests {
  @Test(
    "a connection to somebody else's listener makes nobody somebody else", arguments: [true, false])
  func forgedCredentials(_ isDaemonsOwn: Bool) throws {
    try HostileStage.run(isolates: true) { stage in
      let service = "\(stage.fixture.folder)/service.sock"
      if !isDaemonsOwn {
        #expect(try stage.attack("listen \(service)", by: []).line == "ready")
      }
      let (_, line) = try stage.attack("forge \(isDaemonsOwn ? stage.fixture.socket : service)")
      #expect(line == "ready")
      try stage.expectUnharmed("forged")
      #expect(
        try stage.fixture.engine().listing().allSatisfy { !$0.name.hasPrefix("forged") },
        "a port was opened in somebody else's name")
      try stage.expectRecovered("forged")
    }
  }

  @Test(
    "descriptors whose close blocks hold nobody up",
    arguments: ["mailbox", "reply", "namespace", "extra", "unread", "client"])
  func lingering(_ way: String) throws {
    // The loopback interface of a private namespace.
    try NetworkNamespace.run {
      try HostileStage.run(isolates: true) { stage in
        #expect(try stage.attack("linger \(way) 12").line == "ready")
        for _ in 0..<5 {
          let time = try stage.openTime()
          #expect(time < HostileStage.patience, "\(way): an open took \(time)")
          try stage.expectUnharmed(way)
        }
        try stage.expectRecovered(way)
      }
    }
  }

  @Test(
    "a connection that asked for a port becomes nothing else: the port ends with it",
    arguments: [true, false])
  func registerThenHello(_ isStranger: Bool) throws {
    try HostileStage.run(isolates: true) { stage in
      let user = isStranger ? HostileStage.stranger : []
      let (program, line) = try stage.attack("register-hello kept{1 20", by: user)
      #expect(line.hasPrefix("ready "), "\(line)")
      program.kill(SIGKILL)
      try stage.expectRecovered("register, hello")
      _ = try Port("netmap:kept{1", engine: try stage.fixture.engine())
    }
  }

  @Test("a mailbox that hung up is done with, although a copy of it is kept")
  func keptMailbox() throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      let (_, line) = try stage.attack("kept-mailbox 20")
      #expect(line.hasPrefix("ready"), "\(line)")
      usleep(500_000)
      let before = try stage.daemonTicks()
      usleep(1_000_000)
      let ticks = try stage.daemonTicks() - before
      // A tick is a hundredth of a second.
      #expect(ticks < 15, "the daemon used \(ticks) ticks in a second")
      try stage.expectUnharmed("kept mailboxes")
      try stage.expectRecovered("kept mailboxes")
    }
  }

  @Test("counters at their end are shown, and end nobody", arguments: ["", "--json", "--check"])
  func counters(_ option: String) throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      #expect(try stage.attack("full-counters count{1").line == "ready")
      let outcome = try TestProgram(
        [TestProgram.built("netmap"), "ports"] + (option.isEmpty ? [] : [option]),
        environment: ["NETMAP_SOCKET": stage.fixture.socket]
      ).end()
      #expect(outcome.status == 0, "\(outcome)")
      try stage.expectRecovered("full counters")
    }
  }

  @Test("a closed port is carried no more, however much is sent from it")
  func closedPorts() throws {
    try HostileStage.run(isolates: true) { stage in
      let (program, line) = try stage.attack("lingering vale9:c 60")
      #expect(line == "ready")
      #expect(program.readLine() == "carried 0\n")
      // The worker unmaps ports that have left a switch when it opens the next port there.
      let (next, answer) = try stage.attack("lingering vale9:d 1")
      #expect(answer == "ready")
      #expect(next.readLine() == "carried 0\n")
      try stage.expectRecovered("closed ports that send")
    }
  }

  @Test("connections that say nothing keep nobody out")
  func silentConnections() throws {
    let limit = ["prlimit", "--nofile=512:512"]
    try HostileStage.run(isolates: true, [.pipe], wrapper: limit) { stage in
      for _ in 0..<3 {
        let (_, line) = try stage.attack("silent 400")
        #expect(line.hasPrefix("ready"), "\(line)")
      }
      for _ in 0..<5 {
        let time = try stage.openTime()
        #expect(time < HostileStage.patience, "an open took \(time)")
      }
      // Another user than the attacker.
      let (_, line) = try stage.attack("open other{1 0", by: HostileStage.user(65533))
      #expect(line.hasPrefix("got other{1"), "\(line)")
      try stage.expectRecovered("silent connections")
    }
  }

  @Test("answers that are not received pile up for nobody")
  func unreadAnswers() throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      let (program, line) = try stage.attack("leave-unread u%{1 100")
      #expect(line == "ready")
      let end = ContinuousClock.now + .seconds(1)
      var most = 0
      while ContinuousClock.now < end {
        most = max(most, try stage.descriptorsUnderWay(to: program.process))
        #expect(try stage.openTime() < HostileStage.patience)
      }
      if let broker = stage.fixture.serving {
        let name = try TestProgram.output(of: ["cat", "/proc/\(broker)/comm"])
        #expect(name == "netmapd-broker\n")
      }
      // From 2024 descriptors of several users on the kernel blocks the sender.
      #expect(most > 0 && most <= 200, "\(most) descriptors wait for a stranger")
      // Another user than the attacker.
      let other = try stage.attack("open other{1 0", by: HostileStage.user(65533)).line
      #expect(other.hasPrefix("got other{1"), "\(other)")
      // The daemon refuses the requests that it cannot decide, long before a client gives up.
      let answers = program.readLine()
      #expect(answers.hasPrefix("unanswered 0"), "\(answers)")
      try stage.expectRecovered("unread answers")
    }
  }

  @Test("what is wrong with the memory of others is not for strangers to ask")
  func check() throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      let line = try stage.attack("check").line
      #expect(line == "refused EPERM" || line == "refused EACCES", "\(line)")
      try stage.expectRecovered("check")
    }
  }

  @Test("ports that were closed and are still looked at count; others can open")
  func neverForgotten() throws {
    let limit = ["prlimit", "--nofile=1024:1024"]
    try HostileStage.run(isolates: true, [.pipe], wrapper: limit) { stage in
      let (_, line) = try stage.attack("never-forget k%{1 1200")
      #expect(line.hasPrefix("ready"), "\(line)")
      let time = try stage.openTime()
      #expect(time < HostileStage.patience)
      let check = try stage.fixture.engine().check()
      #expect(check.kept <= 130, "\(check.kept) ports are kept for one user")
      try stage.expectRecovered("never forgotten")
    }
  }

  @Test("exclusive opens of a stranger's keep root out of nothing")
  func exclusive() throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      let flags = BindingFlags.exclusive.rawValue
      for name in ["x{1", "vale5:x"] {
        _ = try stage.attack("open \(name) \(flags)")
        let port = name.hasPrefix("vale") ? name : "netmap:\(name)"
        #expect(throws: Never.self, "\(name)") {
          try Port(port, engine: try stage.fixture.engine()).close()
        }
      }
      try stage.expectRecovered("exclusive")
    }
  }

  @Test("an interface is opened by those who may configure it, and by no stranger")
  func interface() throws {
    try NetworkNamespace.run {
      _ = try VethPair()
      try HostileStage.run(isolates: true, [.pipe]) { stage in
        for flags in [0, BindingFlags.exclusive.rawValue] {
          let line = try stage.attack("open v0 \(flags)").line
          #expect(line == "refused EPERM" || line == "refused EACCES", "\(line)")
          #expect(!InterfaceState("v0").hasXDPProgram)
          let port = try Port("netmap:v0", engine: try stage.fixture.engine())
          port.close()
          // The daemon closes the interface a moment later.
          let end = ContinuousClock.now + .seconds(10)
          while InterfaceState("v0").hasXDPProgram, ContinuousClock.now < end { usleep(2000) }
        }
        try stage.expectRecovered("interface")
      }
    }
  }

  @Test("descriptors that are no sockets of a client's are neither mailboxes nor answered on")
  func oddDescriptors() throws {
    try HostileStage.run(isolates: true) { stage in
      for attack in ["odd-mailbox 400", "odd-reply 160"] {
        for user in [HostileStage.stranger, []] {
          let line = try stage.attack(attack, by: user).line
          // The daemon refuses further connections of a user who has reached the limit.
          #expect(line == "ready" || line.contains("EMFILE"), "\(attack): \(line)")
          try stage.expectUnharmed(attack)
        }
        stage.endAttackers()
      }
      try stage.expectRecovered("odd descriptors")
    }
  }

  @Test(
    "others are served in time while strangers ask as fast as they can",
    arguments: ["list", "check", "port-info", "open"])
  func flood(_ kind: String) throws {
    try HostileStage.run(isolates: true) { stage in
      func median() throws -> Duration {
        try (0..<15).map { _ in try stage.openTime() }.sorted()[7]
      }
      let quiet = try median()
      for _ in 0..<2 { #expect(try stage.attack("flood \(kind) 20").line == "ready") }
      let loud = try median()
      #expect(loud < quiet * 10 + .milliseconds(20), "\(kind): \(loud), \(quiet) without")
      try stage.expectUnharmed(kind)
      try stage.expectRecovered(kind)
    }
  }
}
