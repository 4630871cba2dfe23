internal import ArgumentParser

/// Runs the measurements of a bench in turns, and writes their results.
struct BenchSession {
  private let bench: Bench
  private let cpus: (Int, Int)
  /// Nil when standard output takes the CSV lines.
  private var report: Report?
  private let csv: CSVOutput?
  private var firstCacheLine: Double?

  /// - Throws: ``BenchError`` when the CSV file cannot be written.
  init(_ bench: Bench, _ machine: Machine, cpus: (Int, Int)) throws(BenchError) {
    self.bench = bench
    self.cpus = cpus
    if let path = bench.csv { csv = try CSVOutput(path: path) } else { csv = nil }
    report =
      bench.csv == "-"
      ? nil : Report(machine: machine, isJSON: bench.json, repetitions: bench.repetitions)
    report?.interface = bench.interface
  }

  /// Runs all measurements as often as the options require.
  ///
  /// - Throws: `ExitCode` when a measurement has failed, after its reason and the results so far are printed.
  mutating func run() throws {
    var all = bench.measurements.map { RunSeries($0) }
    let count = all.count
    for round in 1...bench.repetitions {
      let isLast = round == bench.repetitions
      for index in all.indices {
        do throws(BenchError) {
          try measure(&all[index], index + 1, of: count, round)
        } catch {
          // In the last round, the measurements before this one have been printed.
          for series in isLast ? all[index...] : all[...] { write(series) }
          report?.clearProgress()
          printError("netmap: \(all[index].measurement.name.rawValue): \(error)")
          throw ExitCode.failure
        }
        guard all[index].refusal == nil || bench.cases.isEmpty else {
          for series in isLast ? all[index...] : all[...] { write(series) }
          throw ExitCode.failure
        }
        if isLast { write(all[index]) }
      }
    }
  }

  private mutating func write(_ series: RunSeries) {
    if report != nil {
      report?.add(series)
    } else if let refusal = series.refusal {
      printError("netmap: \(series.measurement.name.rawValue): not measured: \(refusal)")
    }
  }

  /// Runs a measurement once, unless it has been found impossible.
  private mutating func measure(
    _ series: inout RunSeries, _ number: Int, of total: Int, _ round: Int
  ) throws(BenchError) {
    guard series.refusal == nil else { return }
    report?.announce(series.measurement, number, of: total, run: round)
    let cacheLine = CacheLineProbe.measure(on: cpus)
    if firstCacheLine == nil, let cacheLine {
      firstCacheLine = cacheLine
      report?.cacheLine = (cpus: cpus, nanoseconds: cacheLine)
    }
    let time = UTCTime.now
    let watch = RunWatch(
      series.measurement, on: cpus, cacheLine: cacheLine, first: firstCacheLine)
    do throws(BenchError) {
      let result = try bench.measurePatiently(series.measurement, cpus)
      let run = BenchRun(result: result, conditions: watch.end(), number: round, time: time)
      series.runs.append(run)
      try csv?.add(run)
    } catch {
      guard error.isUnavailable else { throw error }
      series.refusal = error.description
    }
  }
}
