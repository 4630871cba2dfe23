import CTrace
import Glibc
import Netmap
import ProcessFiles
import TableSupport

/// A row whose victim is not a client that the nursery plays.
protocol AttackRow: KillRow {
  /// More steps than the operation has.
  var lengthMax: Int { get }

  /// Prepares what all points of the row use.
  func bench(_ daemonPath: String) throws -> any AttackBench
}

/// What an ``AttackRow`` keeps between two points.
protocol AttackBench: AnyObject {
  /// Kills the victim after a number of steps.
  ///
  /// - Returns: How many there were; fewer than `count` when the victim had no more to do.
  /// - Throws: ``TableError`` when something does not hold afterwards.
  func attack(after count: Int) throws -> Int

  func end()
}

extension AttackRow {
  var modes: [KillMode] { [.kill] }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    throw TableError("\(name) has no victim of its own")
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene {
    throw TableError("\(name) has no scene")
  }
}

/// Threads that other processes have started, and that the tracer drives.
enum Traced {
  /// Stops a thread.
  static func seize(_ thread: pid_t) throws {
    guard ctrace_seize(thread) == 0, ctrace_interrupt(thread) == 0 else {
      throw TableError("ptrace of \(thread): errno \(errno)")
    }
    // The first stop is that of the interrupt.
    try expect(stops(thread, milliseconds: 2000), "\(thread) does not stop")
  }

  /// Waits until a thread stops.
  ///
  /// - Returns: False if it sleeps instead for some milliseconds, and after 5 seconds.
  static func stops(_ thread: pid_t, milliseconds: Int) -> Bool {
    let begin = ContinuousClock.now
    var status: CInt = 0
    var sleeps = 0
    while unsafe waitpid(thread, &status, 0x4000_0000 | WNOHANG) != thread {
      let time = begin.duration(to: .now)
      guard sleeps < milliseconds, time < .seconds(5) else { return false }
      // A single step takes microseconds. A thread that does not run may be waiting for a processor.
      guard time > .microseconds(200) else { continue }
      usleep(1000)
      sleeps = isAsleep(thread) ? sleeps + 1 : 0
    }
    return status & 0xff == 0x7f
  }

  private static func isAsleep(_ thread: pid_t) -> Bool {
    ProcessFiles.text("/proc/\(thread)/stat").split(separator: ")").last?
      .first { $0 != " " } == "S"
  }

  /// Waits until a thread that was killed is gone.
  static func awaitEnd(of thread: pid_t) {
    var status: CInt = 0
    let end = ContinuousClock.now + .seconds(5)
    while unsafe waitpid(thread, &status, 0x4000_0000 | WNOHANG) == 0, ContinuousClock.now < end {
      usleep(100)
    }
  }
}
