import CTrace
import Glibc
import TableSupport

/// A process that stands at the beginning of its operation and that the tracer drives.
struct Victim: ~Copyable {
  let process: pid_t

  /// Waits until a process stops itself at the beginning of its operation.
  init(awaiting process: pid_t, _ board: TableBoard) throws {
    self.process = process
    var status: CInt = 0
    guard unsafe waitpid(process, &status, 0x4000_0000) == process else {
      throw TableError("waitpid: errno \(errno)")
    }
    guard status & 0xff == 0x7f else {
      throw TableError("the victim did not begin (status \(status)): \(board.text)")
    }
    _ = ctrace_mark_calls(process)
  }

  /// Lets the victim go on to a point of its operation.
  ///
  /// - Returns: The instructions or calls done; fewer than `count` when the operation has ended.
  func step(_ unit: StepUnit, _ count: Int) throws -> Int {
    let done =
      switch unit {
      case .instructions: ctrace_steps(process, count)
      case .calls: ctrace_calls(process, count)
      }
    guard done >= 0 else { throw TableError("the victim has ended during its operation") }
    return done
  }

  /// Records the victim's whole operation.
  func record() throws -> InstructionTrace {
    var addresses = [UInt](repeating: 0, count: 1 << 20)
    let done = unsafe ctrace_record(process, &addresses, addresses.count)
    guard done != -2 else { return InstructionTrace([]) }
    guard done >= 0 else { throw TableError("the victim has ended during its operation") }
    return InstructionTrace(Array(addresses.prefix(done + 1)))
  }

  /// Lets the victim go on to a point of a recorded operation.
  ///
  /// - Returns: Whether the victim stands there; false when its operation has taken another way, and is over.
  func run(to point: InstructionTrace.Point) throws -> Bool {
    let found = ctrace_run_to(process, point.address, point.time)
    guard found >= 0 else { throw TableError("the victim has ended during its operation") }
    return try found == 1 && step(.instructions, point.steps) == point.steps
  }

  /// Lets the victim complete its operation.
  func complete(_ board: TableBoard) throws {
    guard ctrace_continue(process, 0) == 0 else { throw TableError("ptrace: errno \(errno)") }
    var status: CInt = 0
    _ = unsafe waitpid(process, &status, 0x4000_0000)
    guard status & 0xff == 0x7f else {
      throw TableError("the victim failed after it was stopped (status \(status)): \(board.text)")
    }
  }

  /// Kills the victim, and waits until it is dead.
  consuming func kill() {
    Glibc.kill(process, SIGKILL)
    var status: CInt = 0
    while unsafe waitpid(process, &status, 0x4000_0000) == process, status & 0xff == 0x7f {}
  }
}

/// The addresses of all instructions of an operation, in order.
///
/// A victim that runs to a breakpoint there is at a point of the operation a hundred times sooner than one that the
/// tracer steps to it.
struct InstructionTrace: Hashable {
  private let addresses: [UInt]
  /// For each instruction, how often the same one was executed before.
  private let times: [Int]

  /// An instruction to run to, and the steps from there.
  struct Point {
    let address: UInt
    let time: Int
    let steps: Int
  }

  init(_ addresses: [UInt]) {
    self.addresses = addresses
    var seen: [UInt: Int] = [:]
    times = addresses.map { address in
      let time = seen[address, default: 0]
      seen[address] = time + 1
      return time
    }
  }

  /// The number of instructions; 0 where operations cannot be recorded.
  var count: Int { max(0, addresses.count - 1) }

  /// How to reach the point after `count` instructions, at most as many as the operation has.
  func point(after count: Int) -> Point {
    // An instruction that repeats itself is one instruction to a breakpoint, and several steps. Few steps cost less
    // than many visits of a breakpoint in a loop.
    var best = count
    for index in stride(from: count, through: max(0, count - 24), by: -1)
    where cost(index, count) < cost(best, count) { best = index }
    return Point(
      address: addresses[best], time: visits(before: best), steps: count - best)
  }

  private func cost(_ index: Int, _ count: Int) -> Int {
    // A breakpoint in the middle of a repeated instruction is not reached.
    if index > 0, addresses[index] == addresses[index - 1] { return .max }
    return 4 * times[index] + count - index
  }

  /// How often a breakpoint at an instruction is reached before.
  private func visits(before index: Int) -> Int {
    var visits = 0
    for earlier in 0..<index where addresses[earlier] == addresses[index] {
      if earlier == 0 || addresses[earlier - 1] != addresses[earlier] { visits += 1 }
    }
    return visits
  }
}
