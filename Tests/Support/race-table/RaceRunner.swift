import CRace
import Glibc
import TableSupport

/// The outcome of a pair of word and reader.
struct PairResult {
  let row: String
  let word: String
  var changes = 0
  var rounds = 0
  var failures: [String] = []

  var survived: Int { rounds - failures.count }
}

/// Runs rows, one after the other.
final class RaceRunner {
  private let options: RaceOptions
  private let daemonPath: String
  private let output: TableOutput
  private let progress: RaceProgress

  /// Rounds beside those of the changes.
  private static let patience = 200

  init(_ options: RaceOptions) throws {
    self.options = options
    daemonPath = try TableProgram.daemonPath()
    output = TableOutput(isJSON: options.isJSON, widths: [28, 7, 10, 10, 10, 8], leftColumns: 1)
    progress = RaceProgress(options.keep)
  }

  /// - Returns: Whether every round of every row was survived.
  func run() throws -> Bool {
    let begin = ContinuousClock.now
    var results: [PairResult] = []
    output.row("reader", "words", "rounds", "changes", "survived", "time")
    var rowsRun = 0
    for (index, row) in RaceTable.rows.enumerated() {
      guard
        options.names.isEmpty
          ? !(row is FaultyRace) : options.names.contains(where: row.name.hasPrefix)
      else { continue }
      rowsRun += 1
      let rowBegin = ContinuousClock.now
      let found = run(row, index)
      results += found
      summarize(row.name, found, rowBegin.duration(to: .now))
    }
    guard rowsRun > 0 else { throw TableError("no such row") }
    guard !results.isEmpty else { throw TableError("no such word") }
    let seconds = begin.duration(to: .now) / .seconds(1)
    summarize("sum", results, .seconds(seconds), isSum: true)
    output.json(results.map(json))
    return results.allSatisfy { $0.failures.isEmpty }
  }

  private func summarize(
    _ name: String, _ results: [PairResult], _ time: Duration, isSum: Bool = false
  ) {
    output.row(
      name, "\(results.count)", "\(results.reduce(0) { $0 + $1.rounds })",
      "\(results.reduce(0) { $0 + $1.changes })", "\(results.reduce(0) { $0 + $1.survived })",
      "\(Int(time / .seconds(1))) s")
    for result in results where !isSum {
      if options.isVerbose {
        output.say("    \(result.word): \(result.changes) changes in \(result.rounds) rounds")
      }
      for failure in result.failures { output.say("    \(failure)") }
    }
  }

  private func json(_ result: PairResult) -> String {
    let failures = result.failures.map(TableOutput.quoted).joined(separator: ",")
    return
      "{\"reader\":\(TableOutput.quoted(result.row)),\"word\":\(TableOutput.quoted(result.word)),\"rounds\":\(result.rounds)"
      + ",\"changes\":\(result.changes),\"survived\":\(result.survived),\"failures\":[\(failures)]}"
  }

  // MARK: - Rows

  private func run(_ row: any RaceRow, _ index: Int) -> [PairResult] {
    var place: RacePlace?
    defer { place?.end() }
    var results: [PairResult] = []
    do {
      let shared = crace_share()
      try expect(shared == 0, "no memory for what processes leave to the next: errno \(shared)")
      place = try RacePlace(row, index, daemonPath, RaceTable.rows)
    } catch {
      return [PairResult(row: row.name, word: "", rounds: 1, failures: ["not attacked: \(error)"])]
    }
    var names = place?.pairs ?? []
    if !options.words.isEmpty { names = names.filter(options.words.contains) }
    for name in names {
      var result = progress.result(row.name, name, options.seed)
      attack(name, row, index, &place, &result)
      results.append(result)
      progress.keep(result, options.seed)
    }
    return results
  }

  private func attack(
    _ name: String, _ row: any RaceRow, _ index: Int, _ place: inout RacePlace?,
    _ result: inout PairResult
  ) {
    let first = options.round ?? result.rounds
    var number = first
    while options.round == nil ? result.changes < options.changes : number < first + options.count {
      let order = RaceOrder(
        seed: options.seed, key: "\(row.name)/\(name)", first: number,
        rounds: options.round == nil
          ? 100 * options.changes + Self.patience - result.rounds : first + options.count - number,
        changes: options.round == nil ? options.changes - result.changes : .max,
        isOpen: options.round == nil)
      guard order.rounds > 0 else { return }
      var (report, plan, death): (RaceReport, String, Bool)
      do {
        if place == nil { place = try RacePlace(row, index, daemonPath, RaceTable.rows) }
        guard let place else { return }
        (report, plan) = try place.attack(name, order)
        death = false
      } catch let error as RacePlace.Death {
        (report, plan, death) = (error.report, error.plan, true)
      } catch {
        (report, plan, death) = (RaceReport(start: number, failure: "\(error)"), "", true)
      }
      number += report.rounds
      result.rounds += report.rounds
      result.changes += report.changes
      if let failure = report.failure {
        result.failures.append(
          "\(row.name), \(name): \(plan): \(failure)\n      race-table --row '\(row.name)'"
            + " --word '\(name)' --seed \(options.seed) --round \(report.start)"
            + " --count \(max(1, number - report.start))")
      }
      if death || report.isWorn || report.failure != nil {
        place?.end()
        place = nil
      }
      if result.failures.count >= options.failuresMax { return }
      // A word that never changes is given up.
      if report.failure == nil, !report.isWorn, report.changes < order.changes { return }
    }
  }
}

/// The results of former runs, so that a run can go on where another one has ended.
final class RaceProgress {
  private let path: String?
  private var known: [String: (rounds: Int, changes: Int)] = [:]

  /// - Parameter path: A file; nil to keep nothing.
  init(_ path: String?) {
    self.path = path
    guard let path, let text = try? String(decoding: Self.bytes(path), as: UTF8.self) else {
      return
    }
    for line in text.split(separator: "\n") {
      let words = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard words.count == 5, let rounds = Int(words[3]), let changes = Int(words[4]) else {
        continue
      }
      known["\(words[0])\t\(words[1])\t\(words[2])"] = (rounds, changes)
    }
  }

  private static func bytes(_ path: String) throws -> [UInt8] {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw TableError("\(path): errno \(errno)") }
    defer { close(file) }
    var result: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = unsafe read(file, &part, part.count)
      guard count > 0 else { return result }
      result += part.prefix(count)
    }
  }

  private func key(_ row: String, _ word: String, _ seed: UInt64) -> String {
    "\(row)\t\(word)\t\(seed)"
  }

  func result(_ row: String, _ word: String, _ seed: UInt64) -> PairResult {
    let found = known[key(row, word, seed)] ?? (0, 0)
    return PairResult(row: row, word: word, changes: found.changes, rounds: found.rounds)
  }

  func keep(_ result: PairResult, _ seed: UInt64) {
    guard let path, result.failures.isEmpty else { return }
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard file >= 0 else { return }
    let line = [UInt8](
      "\(key(result.row, result.word, seed))\t\(result.rounds)\t\(result.changes)\n".utf8)
    _ = unsafe write(file, line, line.count)
    close(file)
  }
}
