import CRace
import CTrace
import Glibc
import Netmap
import TableSupport

/// A testbed with the process of one row, and the runner's end of what they tell each other.
final class RacePlace {
  private let testbed: TableTestbed
  private let channel: RaceChannel
  private let process: Int32
  /// The names of the pairs.
  private(set) var pairs: [String] = []
  private var hasEnded = false

  /// The processor time that an operation may take.
  private static let most = 100_000_000
  /// The processor time that an operation may take when its instructions are executed one by one.
  private static let mostSlow = 60_000_000_000

  init(_ row: any RaceRow, _ index: Int, _ daemon: String, _ rows: [any RaceRow]) throws {
    try row.prepareProcess()
    channel = try RaceChannel()
    testbed = try TableTestbed(program: daemon, play: RacePlay.play(rows, channel))
    testbed.row = index
    process = try testbed.startVictim()
    var names: [String] = []
    do {
      while let fields = try receive(), fields.first == "pair", fields.count == 2 {
        names.append(fields[1])
      }
    } catch {
      end()
      throw error
    }
    pairs = names
  }

  /// What a process that has died was doing.
  struct Death: Error {
    let report: RaceReport
    let plan: String
  }

  /// Has the process attack a pair.
  ///
  /// - Throws: ``Death`` when the process has died, or does not complete an operation.
  func attack(_ pair: String, _ order: RaceOrder) throws -> (report: RaceReport, plan: String) {
    guard let index = pairs.firstIndex(of: pair) else {
      throw TableError("the operation no longer loads the word")
    }
    try RaceChannel.send(RacePlay.fields(index, order), to: channel.runner)
    do {
      guard let fields = try receive(), let report = RaceChannel.report(fields) else {
        throw TableError("the process does not answer")
      }
      return (report, plan)
    } catch {
      let board = testbed.board
      throw Death(
        report: RaceReport(
          rounds: max(1, Int(board[RaceWord.round]) + 1 - order.first),
          changes: Int(board[RaceWord.changes]),
          start: Int(board[RaceWord.round]),
          failure: "\(error)"), plan: plan)
    }
  }

  /// The round that the process does or has done last.
  private var plan: String {
    let board = testbed.board
    let kind = crace_value(UInt32(truncatingIfNeeded: board[RaceWord.plan + 2]))
    let value = board[RaceWord.plan + 3]
    let text =
      switch kind {
      case CRACE_CONSTANT: "\(value)"
      case CRACE_DIFFERENCE: value == 1 ? "+1" : "-1"
      default: "bit \(value)"
      }
    let mode = RaceRound.Mode(rawValue: UInt32(truncatingIfNeeded: board[RaceWord.plan + 1]))
    return "\(text) after access \(board[RaceWord.plan]), \(mode ?? .once)"
  }

  /// Waits for what the process says.
  private func receive() throws -> [String]? {
    let board = testbed.board
    // The operation that has not ended, its beginning, and the processor time at that moment.
    var (operation, begin, used) = (board[RaceWord.operations], ContinuousClock.now, cpuTime())
    while true {
      if let fields = RaceChannel.receive(from: channel.runner, 50) { return fields }
      try expectAlive()
      let now = board[RaceWord.operations]
      guard now == operation else {
        (operation, begin, used) = (now, .now, cpuTime())
        continue
      }
      // Between two operations the process opens its ports or compares memory.
      guard now % 2 == 1 else {
        try expect(begin.duration(to: .now) < .seconds(60), "no operation begins")
        continue
      }
      let isSlow = board[RaceWord.isSlow] != 0
      let time = cpuTime() - used
      try expect(
        time < (isSlow ? Self.mostSlow : Self.most),
        "the operation has not ended after \(time / 1_000_000) ms")
      try expect(begin.duration(to: .now) < .seconds(120), "the operation sleeps for ever")
    }
  }

  private func cpuTime() -> Int { ctrace_cpu_time(process) }

  private func expectAlive() throws {
    var status: CInt = 0
    guard unsafe waitpid(process, &status, WNOHANG) == process else { return }
    hasEnded = true
    let note = unsafe testbed.board.address(of: RaceWord.death)
      .assumingMemoryBound(to: crace_death.self).pointee
    guard status >> 8 & 0xff == 99, note.signal != 0 else {
      throw TableError("the process has ended (status \(status)): \(testbed.board.text)")
    }
    throw TableError(
      "signal \(note.signal) at \(String(note.instruction, radix: 16)), address"
        + " \(String(note.address, radix: 16))")
  }

  /// Ends the process.
  func end() {
    if !hasEnded {
      kill(process, SIGKILL)
      var status: CInt = 0
      _ = unsafe waitpid(process, &status, 0)
      hasEnded = true
    }
    channel.close()
  }
}
