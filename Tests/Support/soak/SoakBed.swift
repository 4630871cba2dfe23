import CLinux
import CTrace
import Glibc
import Netmap
import NetmapClient
import NetmapCore

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
    for file in ["board", "netmapd.sock", "netmapd.sock.lock", "netmapd.lock", "netmapd.log"] {
      unsafe unlink("\(folder)/\(file)")
    }
    unsafe rmdir(folder)
  }

  /// The path of a program of the same build.
  func program(_ name: String) -> String { "\(programs)/\(name)" }

  /// The process of the daemon that answers requests and carries packets: with root's daemon its child.
  var servingProcess: pid_t {
    let file = unsafe open("/proc/\(daemon)/task/\(daemon)/children", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return daemon }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = unsafe read(file, &bytes, bytes.count)
    let words = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
    return words.first.flatMap { pid_t($0) } ?? daemon
  }

  /// The number of processes that the daemon consists of, those of modules included.
  var daemonProcesses: Int {
    func children(_ process: pid_t) -> Int {
      let path = "/proc/\(process)/task/\(process)/children"
      let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
      guard file >= 0 else { return 1 }
      defer { close(file) }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = unsafe read(file, &bytes, bytes.count)
      return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
        .compactMap { pid_t($0) }.reduce(1) { $0 + children($1) }
    }
    return children(daemon)
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

  /// The letter of the state of a station's process, as in proc_pid_stat(5); nil when there is none.
  func state(of station: Int) -> Character? {
    processes[station].flatMap { Self.state(of: "/proc/\($0)") }
  }

  /// Whether each thread of netmapd sleeps.
  var daemonSleeps: Bool {
    let path = "/proc/\(servingProcess)/task"
    guard let folder = unsafe opendir(path) else { return true }
    defer { unsafe closedir(folder) }
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if Int(name) != nil, Self.state(of: "\(path)/\(name)") == "R" { return false }
    }
    return true
  }

  private static func state(of folder: String) -> Character? {
    let file = unsafe open("\(folder)/stat", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let text = bytes.prefix(max(0, unsafe read(file, &bytes, bytes.count)))
    guard let end = text.lastIndex(of: UInt8(ascii: ")")), end + 2 < text.endIndex else {
      return nil
    }
    return Character(Unicode.Scalar(text[end + 2]))
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
