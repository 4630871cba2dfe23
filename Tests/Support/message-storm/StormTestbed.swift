import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetworkTestbed
import ProcessFiles
import StormAttack

/// A daemon, bystanders, and a member that asks the daemon throughout.
final class StormTestbed {
  let peer: StormPeer
  let folder: String
  let board: StormBoard
  private(set) var bystanders: [StormBystander] = []
  private let daemon: StormProcess
  private var opener: StormProcess?
  private let engine: HostEngine
  private let serving: Int32
  private var atRest = DaemonCheck()
  private var descriptors = 0
  private var mappings = 0
  /// The descriptors of each watched process before the attack.
  private var kindsAtRest: [DescriptorKinds] = []
  private let namespace: PrivateNamespace

  /// The member's longest waits for an answer, and the parts without waits for a CPU, nanoseconds.
  private(set) var worstAnswer: (time: UInt64, hold: UInt64) = (0, 0)

  var socket: String { "\(folder)/netmapd.sock" }
  var openerSocket: String { "\(folder)/opener.sock" }
  var isolatedSocket: String { "\(folder)/isolated.sock" }
  var boardPath: String { "\(folder)/storm.board" }
  var hangingFile: String { "\(folder)/hanging" }
  private var logPath: String { "\(folder)/netmapd.txt" }

  init(_ peer: StormPeer) throws {
    self.peer = peer
    var name = Array("/tmp/message-storm-XXXXXX".utf8CString)
    guard mkdtemp(&name) != nil else { throw StormError("mkdtemp: errno \(errno)") }
    let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    self.folder = folder
    chmod(folder, 0o755)
    board = try StormBoard("\(folder)/storm.board")
    namespace = try PrivateNamespace.enter()
    try Link(named: "lo").setUp()
    _ = try VethPair("v0", "v1")
    if peer == .broker { _ = try VethPair("b0", "b1") }
    var options: [String] = []
    if peer == .untrusted { options = ["--isolate-others"] }
    if peer == .local { options = ["--listen", "\(folder)/isolated.sock:isolated"] }
    let socket = "\(folder)/netmapd.sock"
    daemon = try StormProcess(
      [StormProcess.built("netmapd"), "--foreground", "--socket", socket, "--log-level", "warning"]
        + options, errors: "\(folder)/netmapd.txt")
    engine = try HostEngine(socket: socket)
    let end = ContinuousClock.now + .seconds(30)
    while (try? engine.check()) == nil {
      guard ContinuousClock.now < end, daemon.ended == nil else {
        throw StormError("netmapd does not answer")
      }
      usleep(10_000)
    }
    chmod(socket, peer == .local ? 0o600 : 0o666)
    chmod("\(folder)/isolated.sock", 0o666)
    guard let child = ProcessFiles.children(of: daemon.process).first else {
      throw StormError("there is no broker")
    }
    serving = child
    for kind in StormBystander.Kind.allCases {
      bystanders.append(try StormBystander(kind, folder: folder, socket: socket, serving: serving))
    }
    let report = try engine.switches.setModule(
      .loaded(
        path: StormProcess.built("libport-guard.so"), configuration: "", fallback: .learning),
      of: "vale3")
    bystanders.first { $0.kind == .module }?.setHost(report.process)
    if peer == .broker {
      let program = try StormProcess(
        [StormProcess.built("message-storm"), "opener", openerSocket, boardPath])
      guard program.readLine() == "ready" else { throw StormError("the opener does not start") }
      opener = program
    }
    usleep(300_000)
    try probe()
    atRest = try engine.check()
    descriptors = watched.reduce(0) { $0 + ProcessFiles.entries("/proc/\($1)/fd").count }
    mappings = watched.reduce(0) { $0 + Self.lines("/proc/\($1)/maps") }
    kindsAtRest = watched.map { DescriptorKinds(of: $0) }
    worstAnswer = (0, 0)
    _ = takeGaps()
  }

  /// The processes whose memory and descriptors must stay as they are.
  private var watched: [Int32] { [daemon.process, serving] + (opener.map { [$0.process] } ?? []) }

  func end() {
    FuseFile.unmount(hangingFile)
    // The module's host goes on for the bystanders when netmapd ends.
    _ = try? engine.switches.setModule(.learning, of: "vale3")
    for bystander in bystanders { bystander.end() }
    opener?.kill(SIGKILL)
    daemon.kill(SIGTERM)
    namespace.leave()
    for name in ProcessFiles.entries(folder) { unlink("\(folder)/\(name)") }
    rmdir(folder)
  }

  // MARK: - Attackers

  func place(_ slot: Int) -> StormPlace {
    StormPlace(
      peer: peer,
      socket: peer == .broker ? openerSocket : peer == .local ? isolatedSocket : socket,
      closedSocket: peer == .local ? socket : "",
      hangingFile: peer == .broker ? hangingFile : "", serving: serving, slot: slot)
  }

  /// The user who makes the attack: two users, so that one has its quota where another one has used up its own.
  private func user(_ slot: Int) -> UInt32 { slot % 2 == 0 ? 65534 : 65533 }

  func attack(_ slot: Int, _ episodes: StormEpisodes) throws -> StormProcess {
    try StormProcess(
      [StormProcess.built("message-storm"), "attack"] + place(slot).words + episodes.words
        + [boardPath], by: user(slot))
  }

  /// Starts a process whose descriptors netmapd cannot close; nil where the kind of peer has none.
  func hang(seed: UInt64) throws -> StormProcess? {
    guard peer != .module, access("/dev/fuse", F_OK) == 0 else { return nil }
    let mayHang = Set(watched)
    try FuseFile.mount(hangingFile) { thread in mayHang.contains(Self.process(of: thread)) }
    guard peer != .broker else { return nil }
    var place = place(StormBoard.slotCount - 2)
    place.hangingFile = hangingFile
    return try StormProcess(
      [StormProcess.built("message-storm"), "hang"] + place.words + ["\(seed)", boardPath],
      by: 65532)
  }

  func busyLoop() throws -> StormProcess {
    try StormProcess([StormProcess.built("message-storm"), "busy"], by: 65534)
  }

  // MARK: - What must hold

  /// Asks the daemon as a member does, and looks at all processes that must live.
  func probe() throws {
    if let status = daemon.ended { throw failure("netmapd ended with status \(status)") }
    if let status = opener?.ended { throw failure("the opener ended with status \(status)") }
    guard ProcessFiles.children(of: daemon.process).first == serving else {
      throw failure("the broker has been replaced")
    }
    do {
      for bystander in bystanders { try bystander.look() }
    } catch {
      throw failure("\(error); module: \(moduleState)")
    }
    try measure("check") { _ = try engine.check() }
    try measure("open and close") {
      try NetmapPort("netmap:probe{1@conf:slots=16", engine: engine).close()
    }
  }

  /// What netmapd says of the module that carries a bystander's packets: netmapd ends a host that gets no processor time
  /// for 2.5 s, and the packets in the host's ring are lost then.
  private var moduleState: String {
    guard let report = try? engine.switches.module(of: "vale3") else { return "no report" }
    return "\(report.active) in process \(report.process); \(report.statistics)"
  }

  private func measure(_ what: String, _ body: () throws -> Void) throws {
    let own = CPUWaits.threads(of: getpid())
    let others = watched.map { ($0, CPUWaits.threads(of: $0)) }
    let start = monotonicNanoseconds()
    do {
      try body()
    } catch {
      throw failure("\(what): \(error)")
    }
    let time = monotonicNanoseconds() - start
    guard time > worstAnswer.time || time > worstAnswer.hold else { return }
    let waited =
      CPUWaits.longest(of: getpid(), since: own)
      + (others.map { CPUWaits.longest(of: $0.0, since: $0.1) }.max() ?? 0)
    worstAnswer.time = max(worstAnswer.time, time)
    worstAnswer.hold = max(worstAnswer.hold, time - min(time, waited))
  }

  func takeWorstAnswer() -> (time: UInt64, hold: UInt64) {
    defer { worstAnswer = (0, 0) }
    return worstAnswer
  }

  /// The longest gaps of all bystanders since the last call.
  func takeGaps() -> [(kind: StormBystander.Kind, gap: UInt64, hold: UInt64)] {
    bystanders.map {
      let gaps = $0.takeGaps()
      return ($0.kind, gaps.gap, gaps.hold)
    }
  }

  /// The daemon's resident memory, bytes.
  var memory: UInt64 {
    watched.reduce(0) { $0 + Self.residentPages(of: $1) * 4096 }
  }

  /// Waits until the daemon keeps nothing of attackers that have ended.
  ///
  /// - Returns: How long that took, and what the daemon still had open after five seconds, if it took longer.
  /// - Throws: ``StormError`` when it takes longer than a minute.
  func expectRecovered() throws -> (time: Duration, late: String) {
    FuseFile.unmount(hangingFile)
    removePersistentPorts()
    if board.sum(.breaches) > 0 { throw failure("a user opened a socket whose mode keeps it out") }
    // On a busy machine netmapd has little time to close what the attackers have sent.
    let start = ContinuousClock.now
    let end = start + .seconds(60)
    var (text, late) = ("", "")
    while ContinuousClock.now < end {
      try probe()
      let check = try engine.check()
      let files = watched.reduce(0) { $0 + ProcessFiles.entries("/proc/\($1)/fd").count }
      let maps = watched.reduce(0) { $0 + Self.lines("/proc/\($1)/maps") }
      text =
        "\(check.bindings) ports open, \(check.kept) kept, \(check.clients) clients,"
        + " \(files) descriptors, \(maps) mappings; at rest \(atRest.bindings), \(atRest.kept),"
        + " \(atRest.clients), \(descriptors), \(mappings); \(check.report.findings)"
      // The attack may have started a worker, which is a client too.
      if check.bindings == atRest.bindings, check.kept == atRest.kept,
        check.clients <= atRest.clients + 1, files <= descriptors + 24, maps <= mappings + 64,
        check.report.findings.isEmpty
      {
        if peer == .broker { try expectOpenerServes() }
        return (ContinuousClock.now - start, late)
      }
      if late.isEmpty, ContinuousClock.now - start >= .seconds(5) { late = added }
      usleep(50_000)
    }
    throw failure("after the attackers' end: \(text)\n\(added)")
  }

  /// The descriptors that the watched processes have beyond those before the attack.
  private var added: String {
    zip(watched, kindsAtRest).map { process, before in
      "more in \(process): \(DescriptorKinds(of: process).added(since: before))"
    }.joined(separator: "\n")
  }

  /// Persistent ports outlive the processes that make them.
  private func removePersistentPorts() {
    guard let entries = try? engine.switches.all() else { return }
    for entry in entries where !entry.name.hasPrefix("vale0:") && !entry.name.hasPrefix("vale3:") {
      if let name = try? PortName(entry.name) { _ = try? engine.switches.detach(name) }
    }
    for slot in 0..<StormBoard.slotCount {
      for letter in ["v", "w", ""] {
        if let name = try? PortName("s\(slot)\(letter)") { try? engine.switches.remove(name) }
      }
    }
  }

  /// The next broker is served.
  private func expectOpenerServes() throws {
    let link = try DaemonAddress(path: openerSocket).connect()
    var writer = MessageWriter()
    writer.put(UInt16(5))
    writer.put(UInt16(1))
    writer.put("b0")
    writer.put(Int32(0))
    writer.put(UInt32(0))
    try link?.send(writer.bytes)
    let answer = try link?.receive(within: 5)?.bytes ?? []
    guard answer.count > 4, answer[2] == 0 else {
      throw failure("the opener does not serve: \(answer)")
    }
  }

  func failure(_ text: String) -> StormError {
    let log = ProcessFiles.text(logPath).suffix(2000)
    return StormError(log.isEmpty ? text : "\(text)\n--- netmapd:\n\(log)\n---")
  }
}

// MARK: - /proc

extension StormTestbed {
  private static func lines(_ path: String) -> Int {
    ProcessFiles.text(path).utf8.count { $0 == 10 }
  }

  private static func residentPages(of process: Int32) -> UInt64 {
    // Without shared memory, which belongs to the ports.
    let fields = ProcessFiles.text("/proc/\(process)/statm").split(separator: " ").compactMap {
      UInt64($0)
    }
    return fields.count > 2 ? fields[1] - min(fields[1], fields[2]) : 0
  }

  fileprivate static func process(of thread: Int32) -> Int32 {
    for line in ProcessFiles.text("/proc/\(thread)/status").split(separator: "\n")
    where line.hasPrefix("Tgid:") {
      return Int32(line.dropFirst(5).filter { !$0.isWhitespace }) ?? 0
    }
    return 0
  }
}
