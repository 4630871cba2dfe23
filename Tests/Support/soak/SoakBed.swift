import CLinux
import CTrace
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import ProcessFiles

/// A daemon, the processes of a soak, and what happens when one of them finds something.
final class SoakBed {
  let options: SoakOptions
  let folder: String
  let board: SoakBoard
  let engine: HostEngine
  var socket: String { "\(folder)/netmapd.sock" }
  private let programs: String
  private var daemon: pid_t = -1
  private(set) var processes: [Int: pid_t] = [:]
  private var lines: [Int: [String]] = [:]
  /// Processes that are no stations, such as busy loops.
  private var others: [pid_t] = []
  private let begun = now()
  private var lastLine: UInt64 = 0

  init(_ options: SoakOptions, daemonOptions: [String] = []) throws {
    self.options = options
    var name = Array("/tmp/netmap-soak-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw SoakError("mkdtemp: errno \(errno)") }
    folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var path = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink("/proc/self/exe", &path, path.count)
    let own = String(
      decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    programs = own.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/")
    board = try SoakBoard("\(folder)/board", isNew: true)
    engine = try HostEngine(socket: "\(folder)/netmapd.sock")
    daemon = try spawn(
      ["\(programs)/netmapd", "--foreground", "--socket", socket] + daemonOptions, quiet: true)
    let end = now() + 20_000_000_000
    while (try? engine.check()) == nil {
      guard now() < end else { throw SoakError("netmapd does not answer") }
      usleep(1000)
    }
  }

  deinit {
    for process in Array(processes.values) + others { endProcess(process, SIGKILL) }
    endProcess(daemon, SIGTERM)
    for file in ProcessFiles.entries(folder) { unsafe unlink("\(folder)/\(file)") }
    unsafe rmdir(folder)
  }

  /// The path of a program of the same build.
  func program(_ name: String) -> String { "\(programs)/\(name)" }

  /// The process of the daemon that answers requests and carries packets: with root's daemon its child.
  var servingProcess: pid_t {
    ProcessFiles.children(of: daemon).first ?? daemon
  }

  /// The number of processes that the daemon consists of, those of modules included.
  var daemonProcesses: Int {
    func count(_ process: pid_t) -> Int {
      ProcessFiles.children(of: process).reduce(1) { $0 + count($1) }
    }
    return count(daemon)
  }

  // MARK: - Processes

  /// Starts a program, which ends with the soak.
  func spawn(
    _ words: [String], environment: [String: String] = [:], quiet: Bool = false
  ) throws -> pid_t {
    let child = ctrace_plain_fork()
    guard child >= 0 else { throw SoakError("fork: errno \(errno)") }
    guard child == 0 else { return child }
    ctrace_die_with_parent()
    if quiet {
      let null = unsafe open("/dev/null", O_RDWR)
      for file in 0...2 as ClosedRange<CInt> { dup2(null, file) }
    }
    for file in 3..<1024 as Range<CInt> { close(file) }
    for (name, value) in environment { unsafe setenv(name, value, 1) }
    var list: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
    _ = unsafe execv(words[0], &list)
    _exit(127)
  }

  /// Starts the process of a station, and waits until its port is open.
  func start(_ station: Int, _ port: String, _ settings: WorkerSettings) throws {
    let words =
      ["/proc/self/exe", "worker", board.path, socket, "\(station)", port] + settings.words
    try start(station) { try spawn(words) }
  }

  /// Starts the process of a station, by a closure that spawns it, and waits until its port is open.
  func start(_ station: Int, _ spawn: () throws -> pid_t) throws {
    board[station, .incarnation] += 1
    board[station, .staged] = 0
    board[station, .confirmed] = 0
    board[station, .state] = SoakBoard.State.starting.rawValue
    processes[station] = try spawn()
    let end = now() + 30_000_000_000
    while board.state(of: station) == .starting {
      try expectAlive(station)
      if now() > end { try fail("station \(station) has not started in 30 s") }
      usleep(200)
    }
  }

  /// Starts a program that is no station, and that ends with the soak.
  @discardableResult
  func startOther(_ words: [String], environment: [String: String] = [:]) throws -> pid_t {
    let process = try spawn(words, environment: environment, quiet: true)
    others.append(process)
    return process
  }

  /// Whether the last packet of a sender's process has arrived.
  func hasArrived(at receiver: Int, from sender: Int) -> Bool {
    let staged = board[sender, .staged]
    guard staged > 0 else { return true }
    let cell = board[receiver, from: sender]
    return cell.incarnation == board[sender, .incarnation] && cell.end == staged
  }

  /// How often a station's process has left the processor; nil unless it sleeps.
  ///
  /// A process sleeps without interruption as long as the number stays the same.
  func sleep(of station: Int) -> UInt64? {
    guard let process = processes[station], Self.state(of: "/proc/\(process)") == "S" else {
      return nil
    }
    // Read after the state: a process that has run in between has a higher number.
    return Self.switches(of: "/proc/\(process)")
  }

  /// What the threads of netmapd have got of the processors so far, by thread.
  var daemonTimes: [String: ThreadTime] {
    let path = "/proc/\(servingProcess)/task"
    var times: [String: ThreadTime] = [:]
    for name in ProcessFiles.entries(path) {
      let isReady = Self.state(of: "\(path)/\(name)") == "R"
      let words = ProcessFiles.text("\(path)/\(name)/schedstat").split(separator: " ")
      guard words.count > 2, let delay = UInt64(words[1]) else { continue }
      times[name] = ThreadTime(isReady: isReady, delay: delay)
    }
    return times
  }

  struct ThreadTime {
    /// Whether the thread runs or waits for a processor.
    let isReady: Bool
    /// How long it has waited for a processor, nanoseconds, without the present wait.
    let delay: UInt64
  }

  /// Whether a thread of netmapd has waited for a processor since an earlier moment, altogether for as long as `limit`
  /// nanoseconds.
  ///
  /// - Returns: Nil while a thread runs or is ready to: how long it has been ready is not known before it runs.
  func daemonWaited(since before: [String: ThreadTime], limit: UInt64) -> Bool? {
    let times = daemonTimes
    if times.values.contains(where: \.isReady) { return nil }
    return times.contains { $1.delay &- (before[$0]?.delay ?? 0) >= limit }
  }

  /// What threads of a process do: name, state, and system call, as proc(5) has them.
  private static func describe(_ process: pid_t) -> String {
    let folder = "/proc/\(process)/task"
    return ProcessFiles.entries(folder).sorted().map { thread in
      func field(_ name: String) -> String {
        let text = ProcessFiles.text("\(folder)/\(thread)/\(name)")
        return text.split(separator: "\n").first.map(String.init) ?? "?"
      }
      let letter = state(of: "\(folder)/\(thread)").map(String.init) ?? "?"
      let call = field("syscall").split(separator: " ").first ?? "?"
      return "\(thread) \(field("comm")) \(letter), call \(call), \(field("wchan"))"
    }.joined(separator: "; ")
  }

  /// What the processes of some stations, and netmapd, are doing.
  func describe(_ stations: [Int]) -> String {
    let all = stations.compactMap { processes[$0] } + [servingProcess]
    return all.map { "process \($0): \(Self.describe($0))" }.joined(separator: "\n")
  }

  private static func switches(of folder: String) -> UInt64 {
    var sum: UInt64 = 0
    for line in ProcessFiles.text("\(folder)/status").split(separator: "\n")
    where line.contains("ctxt_switches:") {
      sum &+= line.split(whereSeparator: \.isWhitespace).last.flatMap { UInt64($0) } ?? 0
    }
    return sum
  }

  /// The letter of a state, as in proc_pid_stat(5).
  private static func state(of folder: String) -> Character? {
    // The name of the program may contain anything.
    let text = ProcessFiles.text("\(folder)/stat")
    guard let end = text.lastIndex(of: ")") else { return nil }
    return text[end...].dropFirst(2).first
  }

  func send(_ signal: CInt, to station: Int) {
    if let process = processes[station] { Glibc.kill(process, signal) }
  }

  /// Kills the process of a station, and waits for its end.
  func kill(_ station: Int) {
    guard let process = processes.removeValue(forKey: station) else { return }
    endProcess(process, SIGKILL)
  }

  /// Waits for the end of a station's process, which ends by itself.
  func waitForEnd(_ station: Int, seconds: UInt64 = 30) throws {
    guard let process = processes[station] else { return }
    let end = now() + seconds * 1_000_000_000
    var status: CInt = 0
    while unsafe waitpid(process, &status, WNOHANG) == 0 {
      if now() > end { try fail("station \(station) does not end") }
      usleep(1000)
    }
    processes[station] = nil
    if status != 0 { try fail("station \(station) has ended with \(status): \(board.text)") }
  }

  private func endProcess(_ process: pid_t, _ signal: CInt) {
    guard process > 0 else { return }
    Glibc.kill(process, signal)
    Glibc.kill(process, SIGCONT)
    var status: CInt = 0
    while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
  }

  /// Fails if the process of a station has ended.
  func expectAlive(_ station: Int) throws {
    guard let process = processes[station] else { return }
    var status: CInt = 0
    guard unsafe waitpid(process, &status, WNOHANG) == process else { return }
    processes[station] = nil
    let how = status & 0x7f == 0 ? "with \(status >> 8 & 0xff)" : "by signal \(status & 0x7f)"
    try fail("station \(station) has ended \(how): \(board.text)")
  }

  func expectAllAlive() throws {
    for station in processes.keys.sorted() { try expectAlive(station) }
    var status: CInt = 0
    guard unsafe waitpid(daemon, &status, WNOHANG) == daemon else { return }
    daemon = -1
    try fail("netmapd has ended: \(status)")
  }

  // MARK: - Output

  var elapsed: Double { Double(now() - begun) / 1e9 }
  var isOver: Bool { elapsed >= Double(options.seconds) }

  /// Prints a line of progress, every ten seconds.
  func progress(_ text: @autoclosure () -> String) {
    guard now() - lastLine >= 10_000_000_000 else { return }
    lastLine = now()
    let line = "soak \(options.kind.rawValue): \(Int(elapsed)) s, \(text())"
    if options.isJSON { printError(line) } else { print(line) }
    fflush(nil)
  }

  private func printError(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = unsafe write(2, bytes, bytes.count)
  }

  // MARK: - Failure

  /// Has the daemon check its memory.
  func check() throws -> DaemonCheck {
    let check: DaemonCheck
    do throws(NetmapError) {
      check = try engine.check()
    } catch {
      throw try failure("netmapd does not answer: \(error)")
    }
    if !check.report.findings.isEmpty {
      try fail("netmapd's check: \(check.report.findings.joined(separator: "; "))")
    }
    return check
  }

  /// Stops all processes, writes a dump, and throws.
  func fail(_ text: String) throws -> Never {
    throw try failure(text)
  }

  private func failure(_ text: String) throws -> SoakFailure {
    for process in Array(processes.values) + others { Glibc.kill(process, SIGSTOP) }
    usleep(10_000)
    let dump = "\(options.dumps)/netmap-soak-\(options.kind.rawValue)-\(options.seed).dump"
    let netmap = program("netmap")
    let child = try spawn(
      [netmap, "ports", "--write-dump", dump],
      environment: ["NETMAP_SOCKET": socket])
    var status: CInt = 0
    let end = now() + 30_000_000_000
    while unsafe waitpid(child, &status, WNOHANG) == 0, now() < end { usleep(1000) }
    let reading =
      status == 0
      ? "to read the dump: \(netmap) ports --dump \(dump)" : "no dump: netmapd does not answer"
    return SoakFailure(
      "\(text)\n\(reading)\nto repeat it: \(program(options.command))")
  }
}
