import CTrace
import Glibc
package import Netmap
import NetmapClient
import NetmapCore
import ProcessFiles

/// A daemon, and the ports of the processes that live on.
package final class TableTestbed {
  package let folder: String
  package let board: TableBoard
  package let engine: HostEngine
  private let nursery: Nursery
  package let program: String
  private let options: [String]
  private(set) var daemon: Int32 = -1
  private var atRest = DaemonCheck()
  /// The row that is being run.
  package var row = 0
  /// The longest time that an operation of another process took while a victim stood still.
  package var longestHold = Duration.zero

  package var socket: String { "\(folder)/netmapd.sock" }

  /// - Parameters:
  ///   - program: The path of netmapd.
  ///   - options: Further options of netmapd.
  ///   - play: What the nursery's processes do.
  /// - Throws: ``TableError`` when the daemon does not start.
  package init(
    program: String, options: [String] = [], play: @escaping Nursery.Play
  ) throws {
    var name = Array("/tmp/kill-table-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw TableError("mkdtemp: errno \(errno)") }
    folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    board = try TableBoard()
    nursery = try Nursery("\(folder)/netmapd.sock", board, play)
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

  package func startDaemon() throws {
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
  package var servingProcess: Int32 {
    ProcessFiles.children(of: daemon).first ?? daemon
  }

  package func endDaemon(_ signal: CInt) {
    guard daemon > 0 else { return }
    kill(daemon, signal)
    var status: CInt = 0
    _ = unsafe waitpid(daemon, &status, 0)
    daemon = -1
  }

  // MARK: - Processes

  /// Forks a process that plays the victim of the row.
  package func startVictim() throws -> Int32 { try nursery.start(.victim, of: row) }

  package func startHelper() throws -> Int32 {
    try nursery.start(.helper, of: row)
  }

  package func endHelper(_ process: Int32) {
    kill(process, SIGKILL)
    var status: CInt = 0
    _ = unsafe waitpid(process, &status, 0)
  }

  // MARK: - State

  /// Notes what is open now: the daemon must return to this state after each victim.
  package func noteRest() throws {
    atRest = try engine.check()
    try expect(atRest.report.findings.isEmpty, "before the first point: \(atRest.report.findings)")
  }

  /// Waits until the daemon has noticed a victim's death, and checks its memory.
  package func expectSound() throws {
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
  package func hold<R>(_ body: () throws -> R) throws -> R {
    let (clock, before) = (ContinuousClock.now, CPUWaits.ofThisThread)
    let result = try body()
    let waited = CPUWaits.ofThisThread &- before
    let time = clock.duration(to: .now) - .nanoseconds(Int64(clamping: waited))
    longestHold = max(longestHold, time)
    try expect(time < .milliseconds(100), "another process was held for \(time)")
    return result
  }
}
