import Glibc
import Netmap
import NetmapTestSupport
import Synchronization
import Testing

@Suite("Modules of switches of the daemon", .serialized, .timeLimit(.minutes(15)))
struct DaemonModuleTests {
  @Test("vale-ctl chooses, shows and removes built-in modules; senders of all processes obey")
  func builtIn() throws {
    let testbed = try ModuleTestbed()
    let (a, b, c) = (
      try testbed.port("vale0:a"), try testbed.port("vale0:b"), try testbed.port("vale0:c")
    )
    #expect(try testbed.valeCtl("--module", "vale0").1.hasPrefix("module:     learning\n"))
    #expect(try testbed.valeCtl("--set-module", "vale0=filter", "--config", "deny all") == (0, ""))
    try a.send(NumberedFrame.bytes(1))
    #expect(try b.takeNumbers() == [])
    #expect(a.statistics.transmit.drops[.filtered] == 1)
    #expect(
      try testbed.valeCtl("--set-module", "vale0=balancer", "--config", "c", "-v").1.contains(
        "active:     balancer\nconfig:     c\nchanges:    2\n"))
    try a.send(NumberedFrame.bytes(2))
    #expect(try c.numbers(1) == [2])
    #expect(try b.takeNumbers() == [])
    let (status, text) = try testbed.valeCtl("--module", "vale0", "--json")
    #expect(
      status == 0
        && text.hasPrefix(
          "{\"switch\":\"vale0\",\"module\":\"balancer\",\"active\":\"balancer\",\"config\":\"c\",")
        && text.contains("\"packets\":1"))
    #expect(try testbed.valeCtl("--remove-module", "vale0") == (0, ""))
    try a.send(NumberedFrame.bytes(3))
    #expect(try b.numbers(1) == [3])
  }

  @Test(
    "errors name what failed and the reason",
    arguments: [
      ("vale9=hub", "", "No such file or directory", "no such switch"),
      ("vale0=hubb", "", "Invalid argument", "no module of that name"),
      ("vale0", "", "Invalid argument", "no module is named"),
      ("vale0=filter", "allow gre", "Invalid argument", "gre"),
      ("vale0=hub", "x", "Invalid argument", "no configuration"),
      ("vale0=/nosuch/lib.so", "", "No such file or directory", "load"),
      ("vale0=/etc/passwd", "", "Invalid argument", "invalid ELF header"),
      ("vale0=LIBC", "", "Invalid argument", "does not export"),
      ("vale0=GUARD", "many", "Invalid argument", "'many' is not 1...64"),
      ("vale0=FAULT", "refuse", "Argument list too long", "told to refuse"),
      ("vale0=FAULT", "trap-at-once", "Input/output error", "ended while it was starting"),
    ])
  func errors(_ line: (choice: String, config: String, code: String, reason: String)) throws {
    let testbed = try ModuleTestbed()
    let (a, b) = (try testbed.port("vale0:a"), try testbed.port("vale0:b"))
    var choice = line.choice
    for (word, path) in [
      ("GUARD", ModuleTestbed.portGuard), ("FAULT", ModuleTestbed.faultModule),
      ("LIBC", "/lib/x86_64-linux-gnu/libc.so.6"),
    ] where choice.hasSuffix("=\(word)") { choice = "vale0=\(path)" }
    let (status, text) = try testbed.valeCtl("--set-module", choice, "--config", line.config)
    #expect(status == 1)
    #expect(text.contains(line.code) || text.contains(line.reason), "\(text)")
    #expect(text.contains(line.reason) || line.reason == "load", "\(text)")
    #expect(try testbed.report().active == "learning")
    try a.send(NumberedFrame.bytes(1))
    #expect(try b.numbers(1) == [1])
    testbed.fixture.endDaemon(SIGTERM)
  }

  @Test("a module from a shared object: its host delivers packets, and its statistics are shown")
  func loaded() throws {
    let testbed = try ModuleTestbed()
    let (a, b, c) = (
      try testbed.port("vale0:a"), try testbed.port("vale0:b"), try testbed.port("vale0:c")
    )
    #expect(
      try testbed.valeCtl("--set-module", "vale0=\(ModuleTestbed.portGuard)", "--config", "1")
        == (0, ""))
    let report = try testbed.report()
    #expect(report.active == "port-guard" && report.process > 0)
    try a.send(NumberedFrame.bytes(1, from: 1))
    #expect(try b.numbers(1) == [1])
    #expect(try c.numbers(1) == [1])
    try b.send(NumberedFrame.bytes(2, from: 2, to: 1), NumberedFrame.bytes(3, from: 9, to: 1))
    #expect(try a.numbers(1) == [2])
    let later = try testbed.report { $0["violations"] == 1 }
    #expect(later["violations"] == 1 && later["addresses"] == 2)
    #expect(later["packets"] == 3 && later["dropped"] == 1)
    #expect(try c.takeNumbers() == [], "the address was learned")
    // Listings must not show the host's port.
    #expect(try testbed.fixture.engine().listing().count == 3)
    #expect(try testbed.fixture.engine().switches.all().count == 3)
    // The switch ends with its last port, and the host with the switch.
    for port in [a, b, c] { port.close() }
    let end = ContinuousClock.now + .seconds(5)
    while kill(report.process, 0) == 0, ContinuousClock.now < end { usleep(10_000) }
    #expect(kill(report.process, 0) != 0)
  }

  @Test("modules replaced under traffic, hosts and built-in ones: nothing is lost or repeated")
  func replaced() throws {
    let testbed = try ModuleTestbed()
    let (a, b) = (try testbed.port("vale0:a"), try testbed.port("vale0:b"))
    let switches = try testbed.fixture.engine().switches
    let choices: [SwitchModuleChoice] = [
      .loaded(path: ModuleTestbed.faultModule, configuration: "none"), .hub,
      .loaded(path: ModuleTestbed.portGuard),
      .loaded(path: ModuleTestbed.portGuard, configuration: "2"),
      .filter(rules: "allow all"),
      .loaded(path: ModuleTestbed.faultModule, configuration: "none 7"),
      .learning,
    ]
    let isOver = Flag()
    let thread = DetachedThread {
      for choice in choices {
        do {
          try switches.setModule(choice, of: "vale0")
        } catch {
          Issue.record("\(choice): \(error)")
        }
        usleep(100_000)
      }
      isOver.raise()
    }
    var (sent, seen) = (0, Set<Int>())
    while !isOver.isRaised || seen.count < sent {
      if !isOver.isRaised, sent - seen.count < 500 {
        for _ in 0..<20 {
          try a.inject(NumberedFrame.bytes(sent))
          sent += 1
        }
        try a.sync(.transmit)
      }
      // At the end, wait longer for packets that are still on their way.
      let numbers = try b.numbers(1, within: isOver.isRaised ? 2 : 0.02)
      for number in numbers { #expect(seen.insert(number).inserted, "\(number) came twice") }
      if numbers.isEmpty, isOver.isRaised { break }
    }
    withExtendedLifetime(thread) {}
    #expect(seen.count == sent, "\(a.statistics), \(b.statistics)")
    let report = try testbed.report()
    #expect(report["failures"] == 0 && report["lost"] == 0 && report["changes"] == 7)
  }

  @Test("a module has the rights of the requesting user; untrusted users may not choose modules")
  func rights() throws {
    let testbed = try ModuleTestbed()
    let (folder, library) = (testbed.fixture.folder, "\(testbed.fixture.folder)/libfault.so")
    for (path, mode) in [(folder, 0o755), (testbed.fixture.socket, 0o666)] as [(String, mode_t)] {
      try #require(unsafe chmod(path, mode) == 0)
    }
    _ = try TestProgram.output(of: ["cp", ModuleTestbed.faultModule, library])
    try #require(unsafe chmod(library, 0o755) == 0)
    let (a, b) = (try testbed.port("vale0:a"), try testbed.port("vale0:b"))
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    let (status, text) = try testbed.valeCtl("--set-module", "vale0=\(library)", by: nobody)
    #expect(status == 0, "\(text)")
    try a.send(NumberedFrame.bytes(1))
    #expect(try b.numbers(1) == [1])
    let report = try testbed.report { $0["seen"] == 1 }
    #expect(report["user"] == 65534)
    let owner = try TestProgram.output(of: ["stat", "-c", "%u", "/proc/\(report.process)"])
    // no_new_privs and the other user make the process undumpable; root then owns its files in
    // /proc.
    #expect(owner == "65534\n" || owner == "0\n")
    let groups = try TestProgram.output(of: ["grep", "Groups", "/proc/\(report.process)/status"])
    #expect(!groups.contains(" 0"), "\(groups)")
    testbed.fixture.endDaemon(SIGTERM)

    try testbed.fixture.start(["--isolate-others"])
    let port = try testbed.port("vale0:a")
    for choice in ["hub", library] {
      let (status, text) = try testbed.valeCtl("--set-module", "vale0=\(choice)", by: nobody)
      #expect(status == 1 && text.contains("Operation not permitted"), "\(text)")
    }
    port.close()
  }

  @Test(
    "a module's process that gets no processor for three seconds before it becomes the user still starts",
    .needsRoot)
  func slowStart() throws {
    let testbed = try ModuleTestbed()
    let port = try testbed.port("vale0:a")
    let opener = try #require(testbed.fixture.daemon).process
    var known = Set(children(of: opener))
    for _ in 0..<50 {
      let program = try TestProgram(
        [TestProgram.built("vale-ctl"), "--set-module", "vale0=\(ModuleTestbed.portGuard)"],
        environment: ["NETMAP_SOCKET": testbed.fixture.socket])
      let host = try #require(newHost(of: opener, besides: known))
      known.insert(host)
      // The process sets no_new_privs right before it reads the request.
      let isEarly = try #require(stop(host), "it does not stop").contains("NoNewPrivs:\t0\n")
      if isEarly { usleep(3_000_000) }
      kill(host, SIGCONT)
      let outcome = program.end()
      #expect(outcome.status == 0, "\(outcome.output)")
      if isEarly {
        #expect(try testbed.report().process == host)
        return port.close()
      }
    }
    Issue.record("no process was stopped before it became the user")
  }

  private func children(of process: Int32) -> [Int32] {
    procText("\(process)/task/\(process)/children").split(separator: " ").compactMap { Int32($0) }
  }

  /// The next process that the opener starts for a module, once it runs netmapd's program.
  ///
  /// - Returns: Nil when there is none in 30 s.
  private func newHost(of opener: Int32, besides known: Set<Int32>) -> Int32? {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
      // Before that the opener waits for the child, and so its limit does not run yet.
      for child in children(of: opener) where !known.contains(child) {
        if procText("\(child)/cmdline").contains("--module-seal") { return child }
      }
    }
    return nil
  }

  /// The text of a file in /proc; empty when the process has ended.
  private func procText(_ path: String) -> String {
    let file = unsafe open("/proc/\(path)", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = unsafe read(file, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }

  /// Stops a process.
  ///
  /// - Returns: Its `/proc/PID/status`, once it has stopped; nil if it does not stop in 30 s.
  private func stop(_ process: Int32) -> String? {
    kill(process, SIGSTOP)
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
      let status = procText("\(process)/status")
      if status.contains("State:\tT") { return status }
      usleep(1000)
    }
    return nil
  }
}

/// A flag that another thread raises once.
private final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isRaised: Bool { value.load(ordering: .acquiring) }
  func raise() { value.store(true, ordering: .releasing) }
}
