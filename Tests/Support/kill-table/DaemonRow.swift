import CTrace
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import ProcessFiles
import TableSupport

/// netmapd itself is killed, at each system call of its worker while it carries packets of an isolated port, or at each
/// system call of its server while it opens and closes a port.
///
/// Expected: other processes exchange packets as before, requests fail with an error, waits on isolated ports end, and
/// the next daemon works.
struct DaemonRow: AttackRow {
  let name: String
  /// Whether the thread that carries packets is traced, and not the one that answers requests.
  let isWorker: Bool

  let unit = StepUnit.calls
  let modes = [KillMode.kill]

  static let all = [
    DaemonRow(name: "netmapd: worker carries", isWorker: true),
    DaemonRow(name: "netmapd: server opens", isWorker: false),
  ]

  let lengthMax = 400

  func bench(_ daemonPath: String) -> any AttackBench { Bench(row: self, daemonPath) }

  /// Each point needs another daemon.
  private final class Bench: AttackBench {
    let row: DaemonRow
    let daemonPath: String

    init(row: DaemonRow, _ daemonPath: String) {
      (self.row, self.daemonPath) = (row, daemonPath)
    }

    func attack(after count: Int) throws -> Int { try row.attack(daemonPath, after: count) }
    func end() {}
  }

  /// Kills the daemon after a number of entries and exits of system calls.
  ///
  /// - Parameters:
  ///   - daemonPath: The path of netmapd.
  ///   - count: How many of them.
  /// - Returns: How many there were; fewer than `count` when the thread had no more to do.
  /// - Throws: ``TableError`` when something does not hold afterwards.
  func attack(_ daemonPath: String, after count: Int) throws -> Int {
    let testbed = try TableTestbed(program: daemonPath, play: KillPlay.play([self]))
    let engine = testbed.engine
    let ends = try ["netmap:by{1", "netmap:by}1"].map { try NetmapPort($0, engine: engine) }
    let ports = try ["vale7:x", "vale7:y"].map { try NetmapPort($0, engine: engine) }
    let isolated = try NetmapPort("netmap:apart{1/i", engine: engine)
    let other = try NetmapPort("netmap:apart}1", engine: engine)
    let process = testbed.servingProcess
    let traced =
      isWorker
      ? try Self.busiestThread(of: process) {
        for number in 0..<10 as Range<UInt8> {
          try isolated.send(from: 4, number..<number + 1)
          usleep(1000)
        }
      } : process
    _ = try other.take()
    try Traced.seize(traced)
    var done = 0
    let stimulus: pid_t?
    if !isWorker {
      stimulus = try testbed.startHelper()
    } else {
      stimulus = nil
      try isolated.send(from: 5, 0..<3)
    }
    while done < count {
      guard ctrace_continue(traced, 1) == 0 else { throw TableError("ptrace: errno \(errno)") }
      guard Traced.stops(traced, milliseconds: 30) else { break }
      done += 1
    }
    kill(process, SIGKILL)
    testbed.endDaemon(SIGKILL)
    Traced.awaitEnd(of: traced)
    if let stimulus { testbed.endHelper(stimulus) }
    try verify(testbed, ends, ports, isolated, other)
    return done
  }

  private func verify(
    _ testbed: TableTestbed, _ ends: [NetmapPort], _ ports: [NetmapPort], _ isolated: NetmapPort,
    _ other: NetmapPort
  ) throws {
    for (number, pair) in [ends, ports].enumerated() {
      for round in 0..<2 as Range<UInt8> {
        try pair[0].send(from: 5, round..<round + 1)
        let arrived = try pair[1].take()
        try expect(arrived == [Arrival(5, round)], "pair \(number): \(arrived)")
      }
    }
    do {
      _ = try NetmapPort("netmap:none{1", engine: testbed.engine)
      throw TableError("a port was opened without a daemon")
    } catch let error as NetmapError {
      try expect("\(error)".count > 20, "no clear error: \(error)")
    }
    // The worker's end of an isolated port is gone, so a wait ends at once.
    let begin = ContinuousClock.now
    let outcome = try? isolated.wait(for: .receive, timeout: .seconds(4))
    try expect(
      begin.duration(to: .now) < .seconds(2),
      "a wait on an isolated port went on: \(outcome as Any)")
    for port in ends + ports + [isolated, other] { port.close() }
    try testbed.startDaemon()
    let pair = try ["netmap:by{1", "netmap:by}1"].map { try NetmapPort($0, engine: testbed.engine) }
    try pair[0].send(from: 6, 0..<2)
    let arrived = try pair[1].take()
    try expect(arrived == Arrival.all(6, 0..<2), "after the restart: \(arrived)")
    let check = try testbed.engine.check()
    try expect(check.report.findings.isEmpty, "after the restart: \(check.report.findings)")
  }

  /// The thread of a process that `body` makes run most often.
  private static func busiestThread(of process: pid_t, while body: () throws -> Void) throws
    -> pid_t
  {
    let before = switches(of: process)
    try body()
    let after = switches(of: process)
    let busiest = after.max {
      $0.value - before[$0.key, default: 0] < $1.value - before[$1.key, default: 0]
    }
    guard let busiest else { throw TableError("no threads of \(process)") }
    return busiest.key
  }

  /// How often each thread of a process has begun to wait.
  private static func switches(of process: pid_t) -> [pid_t: Int] {
    var result: [pid_t: Int] = [:]
    for number in ProcessFiles.entries("/proc/\(process)/task") {
      guard let thread = pid_t(number) else { continue }
      let fields = ProcessFiles.text("/proc/\(process)/task/\(number)/schedstat")
        .split(whereSeparator: \.isWhitespace)
      result[thread] = fields.count > 2 ? Int(fields[2]) ?? 0 : 0
    }
    return result
  }
}

extension DaemonRow: KillRowWithHelper {
  /// Opens and closes a port, which the server has to do.
  func helper(_ engine: HostEngine, _ board: TableBoard) throws {
    while true {
      try? NetmapPort("vale7:helper", engine: engine).close()
      usleep(1000)
    }
  }
}
