import Glibc
import TableSupport

/// The outcome of a row in one mode.
struct RowResult {
  let name: String
  let mode: KillMode
  let unit: StepUnit
  var length = 0
  /// The first point.
  var start = 0
  var points = 0
  /// Points that a victim did not pass, because its operation took another way than recorded. Another victim was
  /// stepped there.
  var stepped = 0
  var failures: [String] = []
  var longestHold = Duration.zero
  var time = Duration.zero

  var survived: Int { points - failures.count }

  var json: String {
    let list = failures.map { TableOutput.quoted($0) }.joined(separator: ",")
    return
      "{\"operation\":\(TableOutput.quoted(name)),\"mode\":\"\(mode.rawValue)\",\"unit\":\"\(unit.rawValue)\""
      + ",\"length\":\(length),\"start\":\(start),\"points\":\(points),\"survived\":\(survived),\"failures\":[\(list)]"
      + ",\"longest_hold_us\":\(Int(longestHold / .microseconds(1)))"
      + ",\"milliseconds\":\(Int(time / .milliseconds(1)))}"
  }
}

/// Runs rows, one after the other.
struct TableRunner {
  private let options: TableOptions
  private let daemonPath: String
  private let output: TableOutput

  init(_ options: TableOptions) throws {
    self.options = options
    daemonPath = try TableProgram.daemonPath()
    output = TableOutput(
      isJSON: options.isJSON, widths: [30, 10, 8, 8, 9, 13, 9], leftColumns: 2)
  }

  /// - Returns: Whether every point of every row was survived.
  func run() throws -> Bool {
    let clock = ContinuousClock()
    let begin = clock.now
    var results: [RowResult] = []
    output.row("operation", "mode", "length", "points", "survived", "longest hold", "time")
    table: for (index, row) in KillTable.rows.enumerated() {
      guard
        options.names.isEmpty
          ? !(row is SelfTestRow) : options.names.contains(where: row.name.hasPrefix)
      else { continue }
      guard !options.isShort || row.spacing == 1 else { continue }
      var place: RowPlace?
      defer { place?.end() }
      for mode in options.modes where row.modes.contains(mode) {
        let result = run(row, index, mode, &place)
        results.append(result)
        output.row(
          row.name, mode.rawValue, "\(result.length)", "\(result.points)", "\(result.survived)",
          mode == .kill ? "-" : "\(Int(result.longestHold / .microseconds(1))) us",
          "\(Int(result.time / .milliseconds(1))) ms")
        if result.stepped > 0 { output.say("    \(result.stepped) points reached step by step") }
        for failure in result.failures { output.say("    \(failure.prefix(300))") }
        if options.endsAtFailure, !result.failures.isEmpty { break table }
      }
    }
    guard !results.isEmpty else { throw TableError("no such row") }
    let points = results.reduce(0) { $0 + $1.points }
    let survived = results.reduce(0) { $0 + $1.survived }
    let seconds = begin.duration(to: clock.now) / .seconds(1)
    output.say(
      "\(survived) of \(points) points survived, \(Int(Double(points) / seconds)) points per second"
    )
    output.json(results.map(\.json))
    return survived == points
  }

  /// - Parameters:
  ///   - row: The row.
  ///   - index: Its number.
  ///   - mode: What happens to the victims.
  ///   - place: The row's testbed, which the modes of a row share.
  /// - Returns: The outcome.
  private func run(
    _ row: any KillRow, _ index: Int, _ mode: KillMode, _ place: inout RowPlace?
  ) -> RowResult {
    var result = RowResult(name: row.name, mode: mode, unit: row.unit)
    let clock = ContinuousClock()
    let begin = clock.now
    if let row = row as? any AttackRow {
      run(row, &result)
      result.time = begin.duration(to: clock.now)
      return result
    }
    do {
      if place == nil {
        place = try RowPlace(row, index, daemonPath)
        try place?.measure()
      }
      place?.testbed.longestHold = .zero
      result.length = place?.length ?? 0
    } catch {
      place?.end()
      place = nil
      result.points = 1
      result.failures = ["not killed: \(error)"]
      return result
    }
    let every =
      options.sample.map { max(1, (result.length + 20) / $0) } ?? options.every * row.spacing
    let start = options.start.map { $0 % every } ?? Int.random(in: 0..<every)
    result.start = start
    var points = Array(stride(from: start, to: result.length + 20, by: every))
    if row.spacing > 1, every == row.spacing {
      do {
        try place?.findSharedStores()
      } catch {
        result.failures.append("the search for shared stores: \(error)")
      }
      points = Set(points + (place?.sharedParts ?? []).flatMap { $0 }).sorted()
    }
    for point in points {
      result.points += 1
      do {
        if place == nil {
          place = try RowPlace(row, index, daemonPath)
          try place?.measure()
        }
        if try place?.attack(point, mode) == -1 {
          result.stepped += 1
          try place?.attack(point, mode, steps: true)
        }
      } catch {
        result.failures.append("\(mode.rawValue) at \(point) of \(result.length): \(error)")
        // The daemon may be damaged, so the next point gets a new one.
        place?.end()
        place = nil
        if result.failures.count >= options.failuresMax { break }
      }
      if let hold = place?.testbed.longestHold {
        result.longestHold = max(result.longestHold, hold)
      }
    }
    result.time = begin.duration(to: clock.now)
    return result
  }

  private func run(_ row: any AttackRow, _ result: inout RowResult) {
    var bench: (any AttackBench)?
    defer { bench?.end() }
    do {
      bench = try row.bench(daemonPath)
      // The first time, the victim does things that it does once.
      _ = try bench?.attack(after: row.lengthMax)
      result.length = try bench?.attack(after: row.lengthMax) ?? 0
    } catch {
      result.points = 1
      result.failures = ["not killed: \(error)"]
      return
    }
    let every =
      options.sample.map { max(1, result.length / $0) } ?? options.every * row.spacing
    result.start = options.start.map { $0 % every } ?? Int.random(in: 0..<every)
    for point in stride(from: result.start, through: result.length, by: every) {
      result.points += 1
      do {
        if bench == nil { bench = try row.bench(daemonPath) }
        _ = try bench?.attack(after: point)
      } catch {
        result.failures.append("kill at \(point) of \(result.length): \(error)")
        bench?.end()
        bench = nil
        if result.failures.count >= options.failuresMax { break }
      }
    }
  }
}

/// A testbed with the scene of one row.
private final class RowPlace {
  let testbed: TableTestbed
  private let row: any KillRow
  private let scene: any KillScene
  /// The operation; empty if points are reached step by step.
  private var trace = InstructionTrace([])
  /// The length of the operation, in steps.
  private(set) var length = 0
  /// The parts of a long operation in which shared memory changes.
  private(set) var sharedParts: [Range<Int>] = []

  init(_ row: any KillRow, _ index: Int, _ daemon: String) throws {
    self.row = row
    try row.prepareProcess()
    testbed = try TableTestbed(
      program: daemon, options: row.daemonOptions, play: KillPlay.play(KillTable.rows))
    testbed.row = index
    scene = try row.scene(testbed)
    try testbed.noteRest()
  }

  /// Measures and records the operation.
  ///
  /// An operation can take different ways. A victim that does not pass a recorded point is replaced by one that the
  /// tracer steps there.
  func measure() throws {
    // The first time, the victim fills pages of shared memory and tables.
    length = try attack(1 << 22, .kill)
    if row.unit == .instructions {
      length = try attack(.kill) {
        trace = try $0.record()
        return trace.count
      }
    }
    // Where operations cannot be recorded, and for system calls.
    if trace.count == 0 { length = try attack(1 << 22, .kill) }
  }

  /// Finds the parts of the operation in which shared memory changes.
  func findSharedStores() throws {
    sharedParts = []
    _ = try attack(.kill) { victim in
      var stores = SharedStores(of: victim.process)
      var total = 0
      while true {
        let done = try victim.step(.instructions, row.spacing)
        if stores.hasChanged() { sharedParts.append(total..<total + done) }
        total += done
        if done < row.spacing { return total }
      }
    }
  }

  /// Attacks a victim after `count` steps of its operation.
  ///
  /// - Returns: The number of steps that the victim has done.
  @discardableResult
  func attack(_ count: Int, _ mode: KillMode, steps: Bool = false) throws -> Int {
    try attack(mode, before: count) { victim in
      guard !steps, trace.count > 0, count < trace.count else {
        return try victim.step(row.unit, count)
      }
      return try victim.run(to: trace.point(after: count)) ? count : -1
    }
  }

  /// - Parameters:
  ///   - mode: What happens to the victim.
  ///   - count: The point; a victim that has done fewer steps has completed its operation.
  ///   - point: Drives the victim, and returns the steps that it has done.
  /// - Returns: The steps that the victim has done.
  /// - Throws: ``TableError`` when the point was not survived.
  private func attack(
    _ mode: KillMode, before count: Int = .max, at point: (borrowing Victim) throws -> Int
  ) throws -> Int {
    try scene.prepare()
    let victim = try testbed.start(row)
    let done: Int
    do {
      try scene.arm()
      done = try point(victim)
      if mode != .kill { try scene.meanwhile() }
      if mode == .stop, done >= count { try victim.complete(testbed.board) }
    } catch {
      victim.kill()
      throw error
    }
    victim.kill()
    try scene.verify(mode)
    // Also after the next process has closed its ports.
    try testbed.expectSound()
    return done
  }

  func end() { scene.end() }
}
