internal import Glibc
internal import ProcessFiles
public import Testing

/// How often a process has run, and for how long.
private struct ProcessActivity {
  /// Number of context switches of its threads.
  var switches = 0
  /// Processor time in hundredths of a second.
  var ticks = 0

  init(_ process: Int32) throws {
    let threads = "/proc/\(process)/task"
    for name in ProcessFiles.entries(threads) {
      for line in ProcessFiles.text("\(threads)/\(name)/status").split(separator: "\n")
      where line.contains("ctxt_switches") {
        switches += line.split(separator: "\t").last.flatMap { Int($0) } ?? 0
      }
    }
    let fields = ProcessFiles.text("/proc/\(process)/stat").split(separator: ")").last?.split(
      separator: " ")
    guard let fields, fields.count > 12 else {
      throw ProgramError(text: "process \(process) has ended")
    }
    ticks = (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
  }
}

/// Expects that processes come to rest: that none of them runs during one second.
///
/// A process may wake up `count` times in that second, and each time use 50 microseconds of processor time. The function repeats the measurement until `time` has passed, because processes may still be
/// busy with earlier work. A process that wakes up at intervals, or spins, never rests, on a busy
/// or an idle machine; a process that rests does so on any machine.
public func expectRest(
  of processes: [Int32], within time: Duration = .seconds(60), wakingUp count: Int = 0,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let end = ContinuousClock.now + time
  while true {
    let before = try processes.map { try ProcessActivity($0) }
    usleep(1_000_000)
    let used = try zip(processes, before).map { process, before in
      let now = try ProcessActivity(process)
      return (switches: now.switches - before.switches, ticks: now.ticks - before.ticks)
    }
    if used.allSatisfy({ $0.switches <= 3 + count && $0.ticks <= 1 + count / 200 }) { return }
    guard ContinuousClock.now < end else {
      Issue.record("in a second: \(used)", sourceLocation: sourceLocation)
      return
    }
  }
}
