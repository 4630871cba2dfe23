import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Number of times that each attack runs: `NETMAP_HOSTILE_ROUNDS`, by default 1.
let hostileRounds = max(1, Int(environmentNumber("NETMAP_HOSTILE_ROUNDS") ?? 1))

/// Duration of a race in seconds.
///
/// A writing thread has lost and won its race many times by then.
let raceSeconds = max(0.2, Double(hostileRounds) / 10)

/// Time limit of a test in minutes.
let hostileMinutes = max(10, hostileRounds)

/// The testbed: a daemon under attack, and bystanders, processes that must not be affected.
final class HostileTestbed {
  let fixture: DaemonFixture
  private(set) var bystanders: [BystanderPair] = []
  private var attackers: [TestProgram] = []
  private var atRest = DaemonCheck()
  private var descriptors = 0
  private var mappings = 0

  /// The longest time that the daemon may take to answer, on a machine that is busy with attackers.
  static let patience = Duration.seconds(3)

  /// - Parameters:
  ///   - isolates: Whether users other than root get isolated ports only.
  ///   - kinds: The kinds of ports of the bystanders.
  ///   - wrapper: The command that runs the daemon.
  /// - Throws: An error when one of the processes does not start.
  init(
    isolates: Bool, _ kinds: [BystanderPair.Kind] = [.pipe, .isolated], wrapper: [String] = []
  ) throws {
    fixture = try DaemonFixture(starts: false, wrapper: wrapper)
    try fixture.start(isolates ? ["--isolate-others"] : [])
    for (path, mode) in [(fixture.folder, 0o755), (fixture.socket, 0o666)] as [(String, mode_t)] {
      try #require(unsafe chmod(path, mode) == 0)
    }
    for kind in kinds { bystanders.append(try BystanderPair(fixture, kind)) }
    try expectUnharmed("before the attack")
    atRest = try fixture.engine().check()
    descriptors = try fixture.daemonDescriptors()
    mappings = daemonMappings
  }

  /// Runs `body` as root, each round with a new testbed.
  ///
  /// Without root the test is skipped with a message on standard error; with `CI` in the environment it fails.
  static func run(
    isolates: Bool, _ kinds: [BystanderPair.Kind] = [.pipe, .isolated], wrapper: [String] = [],
    rounds: Int = hostileRounds, _ body: (HostileTestbed) throws -> Void
  ) throws {
    try asRoot {
      for _ in 0..<rounds {
        let testbed = try HostileTestbed(isolates: isolates, kinds, wrapper: wrapper)
        defer { testbed.end() }
        try body(testbed)
      }
    }
  }

  static func asRoot(_ body: () throws -> Void) throws {
    guard geteuid() == 0 else {
      let message = "NOT TESTED: attackers need another user than root, and root to become that"
      if unsafe getenv("CI") != nil {
        Issue.record("\(message)")
      } else {
        let bytes = [UInt8]("\n*** \(message)\n\n".utf8)
        _ = unsafe write(2, bytes, bytes.count)
        try Test.cancel("\(message)")
      }
      return
    }
    try body()
  }

  /// The untrusted user that makes most attacks.
  static let untrusted = user(65534)

  static func user(_ number: Int) -> [String] {
    ["setpriv", "--reuid=\(number)", "--regid=\(number)", "--clear-groups"]
  }

  /// Starts an attacker, and waits for its first line.
  ///
  /// - Returns: The process, and its first line.
  @discardableResult
  func attack(
    _ words: String, by user: [String] = HostileTestbed.untrusted, wrapper: [String] = []
  ) throws -> (program: TestProgram, line: String) {
    let program = try TestProgram(
      user + wrapper + [
        "env", "NETMAP_SOCKET=\(fixture.socket)", TestProgram.built("hostile-peer"),
      ]
        + words.split(separator: " ").map(String.init))
    attackers.append(program)
    return (program, String(program.readLine().prefix { !$0.isNewline }))
  }

  /// Kills the attackers.
  func endAttackers() {
    for program in attackers { program.kill(SIGKILL) }
    attackers = []
  }

  var daemonMappings: Int {
    guard let process = fixture.serving,
      let text = try? TestProgram.output(of: ["wc", "-l", "/proc/\(process)/maps"])
    else { return 0 }
    return Int(text.prefix { $0 != " " }) ?? 0
  }

  /// Number of descriptors in flight to a process, which has not received them yet.
  func descriptorsUnderWay(to process: pid_t) throws -> Int {
    let text = try TestProgram.output(
      of: ["sh", "-c", "cat /proc/\(process)/fdinfo/* 2>/dev/null | grep scm_fds; true"])
    return text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.reduce(0, +)
  }

  /// The time that the daemon takes to let root open and close a port.
  func openTime(_ name: String = "netmap:probe{1") throws -> Duration {
    let engine = try fixture.engine()
    return try fixture.time { try NetmapPort(name, engine: engine).close() }
  }

  /// Expects that the daemon is alive and answers in time, that its check has no findings, and that the
  /// bystanders' packets arrive.
  func expectUnharmed(
    _ context: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let findings = try expectServing(context(), sourceLocation: sourceLocation)
    #expect(findings.isEmpty, "\(context()): \(findings)", sourceLocation: sourceLocation)
  }

  /// Expects that the daemon is alive and answers in time.
  ///
  /// - Returns: The findings of its check. Members of the trust domain can cause findings.
  @discardableResult
  func expectServing(
    _ context: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [String] {
    let process = try #require(fixture.daemon).process
    let isAlive = kill(process, 0) == 0 && !hasEnded(process)
    try #require(isAlive, "\(context()): the daemon is dead", sourceLocation: sourceLocation)
    for pair in bystanders {
      let goesOn = pair.goesOn(within: Self.patience)
      #expect(
        goesOn, "\(context()): \(pair.name) does not go on", sourceLocation: sourceLocation)
    }
    let engine = try fixture.engine()
    var findings: [String] = []
    let time = try fixture.time { findings = try engine.check().report.findings }
    #expect(
      time < Self.patience, "\(context()): an answer took \(time)", sourceLocation: sourceLocation)
    return findings
  }

  /// Kills the attackers, and expects that the daemon is unharmed, that it keeps nothing of the attackers, and
  /// that the bystanders have lost no packet.
  func expectRecovered(
    _ context: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    endAttackers()
    try expectServing(context(), sourceLocation: sourceLocation)
    let engine = try fixture.engine()
    var check = try engine.check()
    // The attack may have started a worker, which is a client too.
    func isBack() throws -> Bool {
      check = try engine.check()
      return check.bindings == atRest.bindings && check.kept == atRest.kept
        && check.clients <= atRest.clients + 1
    }
    var end = ContinuousClock.now + .seconds(6)
    while try !isBack(), ContinuousClock.now < end { usleep(20_000) }
    #expect(
      check.bindings == atRest.bindings && check.kept == atRest.kept,
      "\(context()): \(check.bindings) ports are open, \(check.kept) kept, not as before: \(atRest)",
      sourceLocation: sourceLocation)
    #expect(
      check.clients <= atRest.clients + 1,
      "\(context()): \(check.clients) clients, \(atRest.clients) before",
      sourceLocation: sourceLocation)
    try expectUnharmed(context(), sourceLocation: sourceLocation)
    let most = descriptors + 24
    end = ContinuousClock.now + .seconds(6)
    while try fixture.daemonDescriptors() > most, ContinuousClock.now < end { usleep(20_000) }
    let left = try fixture.daemonDescriptors()
    #expect(
      left <= most, "\(context()): \(left) descriptors, \(descriptors) before",
      sourceLocation: sourceLocation)
    end = ContinuousClock.now + .seconds(6)
    while daemonMappings > mappings + 64, ContinuousClock.now < end { usleep(20_000) }
    let mapped = daemonMappings
    #expect(
      mapped <= mappings + 64, "\(context()): \(mapped) mappings, \(mappings) before",
      sourceLocation: sourceLocation)
    for pair in bystanders { pair.settle(context(), sourceLocation) }
    bystanders = []
  }

  /// Runs `body` with an engine of this process.
  ///
  /// The function releases ports that `body` opens when it returns.
  func withEngine(_ body: (HostEngine) throws -> Void) throws {
    try body(try fixture.engine())
  }

  /// Waits until only the bystanders' ports, or `count` ports, are open, and the daemon keeps no other ports.
  func waitUntilClosed(but count: Int? = nil) throws {
    let (engine, end) = (try fixture.engine(), ContinuousClock.now + .seconds(10))
    var check = try engine.check()
    let open = count ?? atRest.bindings
    while check.bindings > open || check.kept > atRest.kept, ContinuousClock.now < end {
      usleep(2000)
      check = try engine.check()
    }
  }

  /// The processor time that the daemon has used, in clock ticks.
  func daemonTicks() throws -> Int {
    let process = try #require(fixture.serving)
    let text = try TestProgram.output(of: ["cat", "/proc/\(process)/stat"])
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
  }

  /// Ends all processes; kills the daemon.
  func end() {
    endAttackers()
    for pair in bystanders { pair.end() }
    fixture.endDaemon(SIGKILL)
  }
}

/// The reason why the testbed could not be set up.
struct TestbedError: Error {
  let text: String
}

/// Whether a child has ended and has not been waited for.
func hasEnded(_ process: pid_t) -> Bool {
  var information = unsafe siginfo_t()
  let code = unsafe waitid(
    P_PID, id_t(process), &information, CInt(WEXITED | WNOHANG | WNOWAIT))
  return unsafe code != 0 || information.si_signo == SIGCHLD
}

/// Two processes that exchange numbered packets.
@safe
final class BystanderPair {
  enum Kind: String {
    case pipe, isolated, vale
  }

  let name: String
  private let sender: TestProgram
  private let receiver: TestProgram
  private let words: UnsafeMutablePointer<UInt64>
  private let path: String

  init(_ fixture: DaemonFixture, _ kind: Kind) throws {
    name = kind.rawValue
    path = "\(fixture.folder)/\(kind.rawValue).board"
    let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0 && ftruncate(file, 4096) == 0)
    let memory = unsafe try #require(
      unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0))
    close(file)
    unsafe words = memory.assumingMemoryBound(to: UInt64.self)
    let ports: (String, String) =
      switch kind {
      case .pipe: ("netmap:bystander{1", "netmap:bystander}1")
      case .isolated: ("netmap:apart{1/i", "netmap:apart}1/i")
      case .vale: ("vale0:bystand", "vale0:bysend")
      }
    func start(_ words: [String]) throws -> TestProgram {
      let program = try TestProgram(
        ["env", "NETMAP_SOCKET=\(fixture.socket)", TestProgram.built("hostile-peer")] + words)
      let line = program.readLine()
      guard line == "ready\n" else {
        program.kill(SIGKILL)
        throw TestbedError(text: "bystander: \(line)")
      }
      return program
    }
    receiver = try start(["bystand-receive", ports.0, path])
    sender = try start(["bystand-send", ports.1, path])
  }

  deinit { unsafe munmap(words, 4096) }

  private var sent: UInt64 { unsafe words[1] }
  var received: UInt64 { unsafe words[2] }

  /// Whether packets arrive within a time.
  func goesOn(within time: Duration) -> Bool {
    let (before, end) = (received, ContinuousClock.now + time)
    while ContinuousClock.now < end {
      if received >= before + 32 { return true }
      usleep(1000)
    }
    return false
  }

  /// Stops the sender, and expects that all packets have arrived.
  func settle(_ context: String, _ sourceLocation: SourceLocation) {
    unsafe words[0] = 1
    let said = sender.readLine()
    #expect(
      said == "sent \(sent)\n", "\(context): \(name): \(said)", sourceLocation: sourceLocation)
    let end = ContinuousClock.now + .seconds(10)
    while received < sent, ContinuousClock.now < end { usleep(1000) }
    #expect(
      received == sent && sent > 0, "\(context): \(name): \(received) of \(sent) arrived",
      sourceLocation: sourceLocation)
    receiver.send(SIGKILL)
    let complaint = rest(of: receiver)
    #expect(complaint.isEmpty, "\(context): \(name): \(complaint)", sourceLocation: sourceLocation)
    self.end()
  }

  func end() {
    for program in [sender, receiver] { program.kill(SIGKILL) }
  }
}
