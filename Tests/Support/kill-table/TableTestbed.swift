import CTrace
import Glibc
import Netmap
import NetmapClient
import NetmapCore

/// A daemon, and the ports of the processes that live on.
final class TableTestbed {
  let folder: String
  let board: TableBoard
  let engine: HostEngine
  private let nursery: Nursery
  private let rows: [any KillRow]
  private let program: String
  private let options: [String]
  private(set) var daemon: pid_t = -1
  private var atRest = DaemonCheck()
  /// The row that is being run.
  var row = 0
  /// The longest time that an operation of another process took while a victim stood still.
  var longestHold = Duration.zero

  var socket: String { "\(folder)/netmapd.sock" }

  /// - Parameters:
  ///   - rows: All rows of the table, which the nursery can play.
  ///   - program: The path of netmapd.
  ///   - options: Further options of netmapd.
  /// - Throws: ``TableError`` when the daemon does not start.
  init(_ rows: [any KillRow], program: String, options: [String] = []) throws {
    var name = Array("/tmp/kill-table-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw TableError("mkdtemp: errno \(errno)") }
    folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    self.rows = rows
    board = try TableBoard()
    nursery = try Nursery(rows, "\(folder)/netmapd.sock", board)
    engine = try HostEngine(socket: "\(folder)/netmapd.sock")
    (self.program, self.options) = (program, options)
    try startDaemon()
    // The tracer is a client from now on.
    try NetmapPort("netmap:first{1@conf:slots=64", engine: engine).close()
  }

  deinit {
    endDaemon(SIGTERM)
    for file in ["netmapd.sock", "netmapd.sock.lock", "netmapd.lock", "netmapd.log"] {
      unsafe unlink("\(folder)/\(file)")
    }
    unsafe rmdir(folder)
  }

  // MARK: - The daemon

  func startDaemon() throws {
    let words = [program, "--foreground", "--socket", socket] + options
    let child = ctrace_plain_fork()
    if child == 0 {
      let null = unsafe open("/dev/null", O_RDWR)
      for file in 0...2 as ClosedRange<CInt> { dup2(null, file) }
      ctrace_die_with_parent()
      var list: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
      _ = unsafe execv(words[0], &list)
      _exit(127)
    }
    daemon = child
    let end = ContinuousClock.now + .seconds(20)
    while (try? engine.check()) == nil {
      guard ContinuousClock.now < end else { throw TableError("netmapd does not answer") }
      usleep(1000)
    }
  }

  /// The process of the daemon that answers requests and carries packets: with root's daemon its child.
  var servingProcess: pid_t {
    let children = Self.text(of: "/proc/\(daemon)/task/\(daemon)/children")
    return children.split(separator: " ").first.flatMap { pid_t($0) } ?? daemon
  }

  /// A small file of the kernel, without the line's end.
  static func text(of path: String) -> String {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = unsafe read(file, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)).filter { $0 != 10 }, as: UTF8.self)
  }

  func endDaemon(_ signal: CInt) {
    guard daemon > 0 else { return }
    kill(daemon, signal)
    var status: CInt = 0
    _ = unsafe waitpid(daemon, &status, 0)
    daemon = -1
  }

  // MARK: - Processes

  func startVictim() throws -> Victim {
    if let row = rows[row] as? ProgramRow {
      return try Victim(awaiting: start(row), board)
    }
    return try Victim(awaiting: try nursery.start(.victim, of: row), board)
  }

  /// Starts a C program with the C library of the same build.
  private func start(_ row: ProgramRow) throws -> pid_t {
    let folder = program.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/")
    let variables = [
      "NETMAP_SOCKET=\(socket)", "LD_BIND_NOW=1", "LD_PRELOAD=\(folder)/libnetmap-c.so",
      "NETMAP_HALF=\(folder)/libnetmap-half.so", "SWIFT_DETERMINISTIC_HASHING=1",
    ]
    let child = ctrace_plain_fork()
    guard child == 0 else { return child }
    var words: [UnsafeMutablePointer<CChar>?] =
      unsafe row.command(in: folder).map { unsafe strdup($0) } + [nil]
    var environment: [UnsafeMutablePointer<CChar>?] =
      unsafe variables.map { unsafe strdup($0) } + [nil]
    if let program = unsafe words[0] { _ = unsafe execve(program, &words, &environment) }
    _exit(127)
  }

  func startHelper() throws -> pid_t {
    try nursery.start(.helper, of: row)
  }

  func endHelper(_ process: pid_t) {
    kill(process, SIGKILL)
    var status: CInt = 0
    _ = unsafe waitpid(process, &status, 0)
  }

  // MARK: - State

  /// Notes what is open now: the daemon must return to this state after each victim.
  func noteRest() throws {
    atRest = try engine.check()
    try expect(atRest.report.findings.isEmpty, "before the first point: \(atRest.report.findings)")
  }

  /// Waits until the daemon has noticed a victim's death, and checks its memory.
  func expectSound() throws {
    let end = ContinuousClock.now + .seconds(10)
    while true {
      let check = try engine.check()
      if check.bindings == atRest.bindings, check.clients <= atRest.clients,
        check.kept <= atRest.kept
      {
        return try expect(check.report.findings.isEmpty, "\(check.report.findings)")
      }
      guard ContinuousClock.now < end else {
        throw TableError(
          "\(check.bindings) ports are open, \(check.kept) kept, \(check.clients) clients; at rest"
            + " \(atRest.bindings), \(atRest.kept), \(atRest.clients)")
      }
      usleep(100)
    }
  }

  /// Performs a step of a process that lives on while the victim stands still, and measures it.
  ///
  /// Time in which the process was ready to run and no CPU was free does not count.
  func hold<R>(_ body: () throws -> R) throws -> R {
    let (clock, before) = (ContinuousClock.now, Self.waitingForCPU())
    let result = try body()
    let time = clock.duration(to: .now) - (Self.waitingForCPU() - before)
    longestHold = max(longestHold, time)
    try expect(time < .milliseconds(100), "another process was held for \(time)")
    return result
  }

  private static func waitingForCPU() -> Duration {
    let fields = text(of: "/proc/thread-self/schedstat").split(separator: " ")
    return .nanoseconds(fields.count > 1 ? Int64(fields[1]) ?? 0 : 0)
  }
}
