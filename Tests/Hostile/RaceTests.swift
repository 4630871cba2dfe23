import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// The words and values that an attacker writes into shared memory while other processes sync.
struct Scribble: Sendable, CustomTestStringConvertible {
  let name: String
  let words: String
  var threads = 1

  init(_ name: String, _ words: String, threads: Int = 1) {
    (self.name, self.words, self.threads) = (name, words, threads)
  }

  var testDescription: String { name }
}

/// The scribbles that the tests try.
enum Scribbles {
  static let indexes = [
    Scribble("head, and its copy", "1.r.@head=4294967295,1.r.rhead=1048575|65535"),
    Scribble("head of the other ring", "1.t.@head=4294967295,1.t.rhead=1048575|65535"),
    Scribble("hwcur and hwtail", "*.*.hwcur=0|5000|4294967295,*.*.hwtail=0|70000|3|4294967295"),
    Scribble("positions", "*.*.position=4294967295|0|7|1024,*.*.published=9|4294967295"),
  ]
  static let others = [
    Scribble("wait words", "*.*.waitWord=5", threads: 2),
    Scribble("bell numbers", "*.*.waitWord=4294967290|3221225473|3221226000|77"),
    Scribble("slots", "*.*.#len=65535|60,*.*.#buf=4294967295|3,*.*.#flags=65535|0,*.*.#ptr=-1|0"),
    Scribble("locks", "*.*.lock=0|4294967296|-1"),
    Scribble("layout", "*.*.slotCount=4294967295|0,*.*.ringOffset=-1|8,*.*.kind=3|4|99"),
    Scribble(
      "offsets",
      "*.*.offsetMask=9223372036854775808|-1,*.*.offsetMax=9223372036854775808|-1,"
        + "*.*.#ptr=9223372036854775808|-1"),
    Scribble("everything", "all"),
  ]

  static let shared =
    others + [
      Scribble("cursors", "*.*.@head=0|4294967295|5,*.*.@tail=4294967295|7,*.*.@cur=4294967295|1"),
      Scribble("indexes", "*.*.hwcur=0|5000|4294967295,*.*.hwtail=0|70000|4294967295"),
      Scribble(
        "leases", "0.r.reservation=-1|0|65535|4294967295,0.r.arriving=-1|0|65535,0.t.intent=-1|7"),
      Scribble("header lengths", "*.*.frameShape=-1|12|10|0|4294967308"),
      Scribble(
        "open words",
        "0.r.isOpen=0|1|99,0.r.openRingOffset=-1|8|0,0.r.openOffsetMask=-1|9223372036854775808,"
          + "0.r.openOffsetMax=-1|9223372036854775808"),
      Scribble("sleepers", "0.r.heldSenders=-1,0.r.holdsSenders=1|4294967295|0"),
      Scribble("broadcasts", "0.t.delivered=-1|0,0.t.deliveredSlot=1|4294967295|77"),
    ]

  static let interface =
    [
      Scribble("hwtail", "*.t.hwtail=0|70000|4294967295|1048576"),
      Scribble("hwcur", "*.t.hwcur=0|70000|4294967295|1048576"),
      Scribble("receive indexes", "*.r.hwcur=0|70000|4294967295,*.r.hwtail=1|1048576|4294967295"),
      Scribble("head, and its copy", "*.r.@head=4294967295,*.r.rhead=1048575|65535"),
    ] + others
}

/// Memory that an untrusted user or a member of the trust domain writes to while the daemon, its worker and
/// other processes use it.
@Suite("Races", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct RaceTests {
  @Test("the worker goes on, whatever an untrusted user writes to its port's memory")
  func isolated() throws {
    try HostileTestbed.run(isolates: true, rounds: 1) { testbed in
      _ = try testbed.victim("netmap:race}1")
      for scribble in Scribbles.indexes + Scribbles.others {
        try testbed.race("scribble race{1 0", scribble)
      }
      try testbed.expectRecovered("at the end")
    }
  }

  @Test("writes of one end of a pipe do not crash the process at the other end")
  func pipe() throws {
    try HostileTestbed.run(isolates: false, rounds: 1) { testbed in
      let victim = try testbed.victim("netmap:race}1")
      for scribble in Scribbles.indexes + Scribbles.others {
        try testbed.race("scribble race{1 0", scribble)
        testbed.expectAlive(victim, scribble.name)
      }
      try testbed.expectRecovered("at the end")
    }
  }

  @Test(
    "writes to the memory of a switch's ports crash no process on the switch",
    arguments: [0, 12])
  func neighbours(header: Int) throws {
    try HostileTestbed.run(isolates: false, [.pipe, .vale], rounds: 1) { testbed in
      for scribble in Scribbles.shared {
        let victims = [
          try testbed.victim("vale7:v", header: header), try testbed.victim("vale7:w"),
        ]
        try testbed.race("scribble-neighbours vale7:a", scribble)
        for victim in victims { testbed.expectAlive(victim, scribble.name) }
        testbed.endAttackers()
      }
      try testbed.expectRecovered("at the end")
    }
  }

  @Test("lengths that change during a header conversion crash no sender", arguments: [10, 12])
  func racedLengths(_ header: Int) throws {
    try HostileTestbed.run(isolates: false, [.pipe, .vale], rounds: 1) { testbed in
      let victim = try testbed.victim("vale7:v", header: header)
      try testbed.race(
        "scribble vale7:a 0", Scribble("lengths", "0.r.#len=65535|0|1500,0.r.#buf=last"))
      testbed.expectAlive(victim, "lengths")
      try testbed.expectRecovered("lengths")
    }
  }

  @Test("forged indirect slots disclose no memory of a sender")
  func indirectOfProcess() throws {
    try HostileTestbed.run(isolates: false, [.pipe, .vale], rounds: 1) { testbed in
      let victim = try testbed.victim("vale7:v")
      try testbed.expectNoMemory(of: victim.process, "a sender")
      testbed.expectAlive(victim, "indirect")
      try testbed.expectRecovered("indirect")
    }
  }

  @Test("forged indirect slots disclose no memory of the daemon")
  func indirectOfWorker() throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try HostileTestbed.run(isolates: false, [.pipe, .vale], rounds: 1) { testbed in
        try testbed.attachInterface(pair.first)
        let source = try testbed.victim("netmap:\(pair.second)")
        try testbed.expectNoMemory(of: try #require(testbed.fixture.daemon).process, "the daemon")
        source.kill(SIGKILL)
        try testbed.detachInterface(pair.first)
        try testbed.expectRecovered("indirect")
      }
    }
  }

  @Test(
    "the worker goes on, whatever is written to the memory of an interface's port on a switch")
  func switchedInterface() throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try HostileTestbed.run(isolates: false, [.pipe, .isolated], rounds: 1) { testbed in
        for scribble in Scribbles.shared {
          try testbed.attachInterface(pair.first)
          let source = try testbed.victim("netmap:\(pair.second)")
          let sender = try testbed.victim("vale7:v", header: 12)
          try testbed.race("scribble-neighbours vale7:a", scribble)
          testbed.expectAlive(sender, scribble.name)
          source.kill(SIGKILL)
          testbed.endAttackers()
          try testbed.detachInterface(pair.first)
        }
        try testbed.expectRecovered("at the end")
      }
    }
  }

  @Test(
    "writes to the memory of an interface's rings crash no process that syncs them",
    arguments: ["xdp,mode=copy", "packet"])
  func interface(backend: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      try HostileTestbed.run(isolates: false, [.pipe, .isolated], rounds: 1) { testbed in
        for scribble in Scribbles.interface {
          // A process that has the rings, the worker for another process, and the sender of the incoming
          // packets.
          let victims = [
            try testbed.victim("netmap:\(pair.first)@backend:name=\(backend)"),
            try testbed.victim("netmap:\(pair.first)/i"),
            try testbed.victim("netmap:\(pair.second)"),
          ]
          try testbed.race("scribble \(pair.first) 0", scribble)
          for victim in victims { testbed.expectAlive(victim, scribble.name) }
          testbed.endAttackers()
          try testbed.waitUntilClosed()
        }
        try testbed.expectRecovered("at the end")
      }
    }
  }
}

extension HostileTestbed {
  /// Starts a process that others' writes must not crash.
  func victim(_ port: String, header: Int = 0) throws -> TestProgram {
    var victim = try attack("victim \(port) \(header)", by: [])
    // A queue stays busy until the kernel has ended all processes that had its socket, and two RCU grace
    // periods have passed. If every processor is busy, netmapd may give up before that.
    for _ in 0..<3 where victim.line.contains("EBUSY") {
      victim = try attack("victim \(port) \(header)", by: [])
    }
    try #require(victim.line == "ready", "\(port): \(victim.line)")
    return victim.program
  }

  func expectAlive(
    _ program: TestProgram, _ context: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(
      !hasEnded(program.process), "\(context): a process was ended", sourceLocation: sourceLocation)
  }

  /// Lets an attacker scribble for a while, and expects that the daemon and the bystanders are unharmed.
  ///
  /// Restarts an attacker that its own scribbling has crashed.
  func race(
    _ command: String, _ scribble: Scribble, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let end = ContinuousClock.now + .seconds(raceSeconds)
    var attacker: TestProgram?
    repeat {
      if attacker.map({ hasEnded($0.process) }) ?? true {
        attacker?.kill(SIGKILL)
        let (program, line) = try attack("\(command) \(scribble.words) \(scribble.threads)")
        // The open may fail because of the state that the previous attacker has left.
        if line == "ready" { attacker = program }
      }
      usleep(200_000)
      try expectServing(scribble.name, sourceLocation: sourceLocation)
    } while ContinuousClock.now < end
    attacker?.kill(SIGKILL)
  }

  /// Expects that processes on a switch cannot receive the memory of a process that sends there.
  func expectNoMemory(of process: pid_t, _ context: String) throws {
    let maps = try TestProgram.output(of: ["head", "-1", "/proc/\(process)/maps"])
    let address = try #require(
      maps.split(separator: "-").first.flatMap { UInt64($0, radix: 16) }, "\(maps)")
    let (attacker, line) = try attack("indirect vale7:a vale7:b \(address)")
    #expect(line == "ready")
    let end = ContinuousClock.now + .seconds(max(3, raceSeconds))
    while ContinuousClock.now < end {
      usleep(200_000)
      try expectServing(context)
    }
    attacker.send(SIGKILL)
    let said = rest(of: attacker)
    #expect(said.isEmpty, "\(context): \(said)")
  }

  private func valeCtl(_ option: String, _ name: String) throws {
    let end = ContinuousClock.now + .seconds(10)
    while true {
      let outcome = try TestProgram(
        [TestProgram.built("vale-ctl"), option, "vale7:\(name)"],
        environment: ["NETMAP_SOCKET": fixture.socket]
      ).end()
      // Processes that had the interface open may still be closing it.
      if outcome.status != 0, ContinuousClock.now < end {
        usleep(20_000)
        continue
      }
      return try #require(outcome.status == 0, "\(outcome.output)")
    }
  }

  func attachInterface(_ name: String) throws { try valeCtl("-a", name) }
  func detachInterface(_ name: String) throws { try valeCtl("-d", name) }
}
