internal import ToolSupport

/// One run of a measurement.
struct BenchRun {
  let result: BenchResult
  let conditions: RunConditions
  /// Counted from 1.
  let number: Int
  /// The start, UTC; see ``UTCTime``.
  let time: String

  /// The numbers of the result, then those of the conditions.
  var numbers: [BenchNumber] { result.numbers + conditions.numbers }
}

/// The runs of one measurement.
struct RunSeries {
  let measurement: Measurement
  var runs: [BenchRun] = []
  /// Why this machine or this process's rights do not permit the measurement; nil when they do.
  var refusal: String?

  init(_ measurement: Measurement) {
    self.measurement = measurement
  }

  /// One number over all runs.
  struct Summary {
    /// With the median as its value.
    let number: BenchNumber
    /// Nil when the number is not known in any run.
    let statistics: RunStatistics?
  }

  /// The summaries of all numbers, in the order of their first appearance.
  var summaries: [Summary] {
    var names: [BenchNumber] = []
    var values: [String: [Double]] = [:]
    for number in runs.flatMap(\.numbers) {
      if values[number.key] == nil { names.append(number) }
      values[number.key, default: []].append(number.value)
    }
    return names.map { name in
      let statistics = RunStatistics(values[name.key] ?? [])
      return Summary(number: name.with(statistics?.median ?? .nan), statistics: statistics)
    }
  }

  var disturbedRuns: Int { runs.count(where: { !$0.conditions.disturbances.isEmpty }) }

  /// The disturbances of all runs, each kind once, as a sentence without a period; empty when there were none.
  var disturbance: String {
    var kinds: [RunConditions.Disturbance.Kind] = []
    var texts: [String] = []
    for disturbance in runs.flatMap(\.conditions.disturbances)
    where !kinds.contains(disturbance.kind) {
      kinds.append(disturbance.kind)
      texts.append(disturbance.text)
    }
    return texts.joined(separator: "; ")
  }

  /// The measurement as one JSON object, whose figures are medians of the runs; `netmap bench --help` describes
  /// the keys.
  func json(on machine: Machine) -> String {
    var line = JSONLine()
    measurement.describe(in: &line)
    if let refusal {
      line.add("measured", false)
      line.add("reason", refusal)
    } else {
      line.add("measured", true)
      let summaries = summaries
      for summary in summaries { summary.number.describe(in: &line) }
      line.add("time", runs.first?.time ?? "")
      line.add("runs", runs.count)
      line.add("disturbedRuns", disturbedRuns)
      line.add("disturbed", disturbedRuns > 0)
      if disturbedRuns > 0 { line.add("disturbance", disturbance) }
      if runs.count > 1 {
        var all = JSONLine()
        for summary in summaries { summary.describe(in: &all) }
        line.add("statistics", all)
      }
    }
    machine.describe(in: &line)
    return line.text
  }
}

extension RunSeries.Summary {
  fileprivate func describe(in line: inout JSONLine) {
    var object = JSONLine()
    object.add("median", statistics?.median ?? .nan)
    object.add("min", statistics?.minimum ?? .nan)
    object.add("max", statistics?.maximum ?? .nan)
    object.add("spreadPercent", statistics?.spreadPercent ?? .nan)
    line.add(number.key, object)
  }
}
