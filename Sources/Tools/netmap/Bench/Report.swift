internal import Glibc
internal import NetmapCore
internal import ToolSupport

/// Writes each measurement to standard output as soon as its last run has ended.
struct Report {
  let machine: Machine
  let isJSON: Bool
  /// Runs of each measurement.
  let repetitions: Int
  /// The first probe of the cache line between the measuring CPUs, for the header.
  var cacheLine: (cpus: (Int, Int), nanoseconds: Double)?
  /// The interface of the machine that the cases use; nil for veth pairs.
  var interface: String?
  private var hasHeader = false
  private let showsProgress = isatty(STDERR_FILENO) != 0

  init(machine: Machine, isJSON: Bool, repetitions: Int) {
    self.machine = machine
    self.isJSON = isJSON
    self.repetitions = repetitions
  }

  /// Prints the current measurement, if standard error is a terminal.
  func announce(_ measurement: Measurement, _ number: Int, of total: Int, run: Int) {
    guard showsProgress else { return }
    let payload = measurement.name.hasPayloads ? " \(measurement.payload.rawValue)" : ""
    let batch = measurement.name.hasBatches ? " batch \(measurement.batch)" : ""
    let frame = !measurement.name.hasLengths ? "" : " \(measurement.frameBytes) bytes"
    let round = repetitions == 1 ? "" : ", run \(run) of \(repetitions)"
    let place = "[\(number)/\(total)\(round)] \(measurement.name.rawValue)"
    writeError("\r\u{1b}[K\(place)\(frame)\(batch)\(payload)\r")
  }

  /// Prints the runs of a measurement; nothing when there are none and the measurement was possible.
  mutating func add(_ series: RunSeries) {
    clearProgress()
    // So that a process that reads the output through a pipe gets each result at once.
    defer { fflush(nil) }
    if let refusal = series.refusal {
      if isJSON { return print(series.json(on: machine)) }
      printHeader()
      return print("\(cells(series.measurement)) not measured: \(refusal)")
    }
    guard let run = series.runs.first else { return }
    if isJSON { return print(series.json(on: machine)) }
    printHeader()
    if repetitions == 1 { addRow(run, series) } else { addSummary(series) }
  }

  private func addRow(_ run: BenchRun, _ series: RunSeries) {
    let (result, isDisturbed) = (run.result, series.disturbedRuns > 0)
    let values = result.numbers.map { ($0.key, $0.value) }
    let row = cells(result.measurement) + columns(Self.byKey(values))
    print(row + debugMark + (isDisturbed ? "  *" : ""))
    if let wakeup = result.wakeup { print(note(wakeup)) }
    if let vale = result.vale { print(note(vale)) }
    if let times = result.roundTrips { print(note(times)) }
    if let losses = result.delivery?.losses { print(note(losses)) }
    if let counts = result.machineInterface?.numbers, !counts.isEmpty {
      print("  " + counts.map { "\($0.key) \($0.value.fixed(0))" }.joined(separator: ", "))
    }
    if isDisturbed { print("  * disturbed: \(series.disturbance)") }
  }

  /// Prints a row of medians, rows of minima, maxima and spreads, and a line for each other number.
  private func addSummary(_ series: RunSeries) {
    let summaries = series.summaries
    func row(_ value: (RunStatistics) -> Double, _ decimals: Int? = nil) -> String {
      let values = summaries.map { ($0.number.key, $0.statistics.map(value) ?? .nan) }
      return columns(Self.byKey(values), decimals)
    }
    func label(_ text: String) -> String { ("  " + text).left(nameWidth + 23) }
    let mark = series.disturbedRuns > 0 ? "  *" : ""
    print(cells(series.measurement) + row(\.median) + debugMark + mark)
    print(label("minimum") + row(\.minimum))
    print(label("maximum") + row(\.maximum))
    print(label("spread, %") + row(\.spreadPercent, 1))
    let inColumns = Self.columnFormats.map { $0.key }
    for summary in summaries where !inColumns.contains(summary.number.key) {
      guard let statistics = summary.statistics else { continue }
      let decimals = summary.number.isWhole ? 0 : 3
      let range =
        statistics.minimum.fixed(decimals) + " to " + statistics.maximum.fixed(decimals)
      print(
        "  \(summary.number.key.left(20)) median \(statistics.median.fixed(decimals)), \(range) "
          + "\(summary.number.unit), spread \(statistics.spreadPercent.fixed(1)) %")
    }
    let runs = "\(series.runs.count) run\(series.runs.count == 1 ? "" : "s")"
    guard series.disturbedRuns > 0 else { return print("  \(runs), none disturbed") }
    print("  * \(runs), \(series.disturbedRuns) disturbed: \(series.disturbance)")
  }

  private mutating func printHeader() {
    if !hasHeader { print(header) }
    hasHeader = true
  }

  func clearProgress() {
    if showsProgress { writeError("\r\u{1b}[K") }
  }

  private var header: String {
    let warning =
      Machine.isDebugBuild
      ? "DEBUG BUILD: these figures are meaningless; build with 'swift build -c release'\n"
      : ""
    let distance =
      cacheLine.map { line in
        "cache-line round trip between CPU \(line.cpus.0) and CPU \(line.cpus.1): "
          + "\(line.nanoseconds.fixed(0)) ns\n"
      } ?? ""
    let place = interface.map { "interface \($0), ring pair 0\n" } ?? ""
    return """
      netmap bench \(PackageVersion.text): \(machine.description)
      \(place)\(distance)\(warning)
      \("case".left(nameWidth)) bytes batch  payload       Mpps  ns/packet syscalls/packet  offered delivered
      """
  }

  private var nameWidth: Int { Measurement.Case.nameWidth }

  /// The measurement, as the first cells of a row.
  private func cells(_ measurement: Measurement) -> String {
    let name = measurement.name
    return [
      name.rawValue.left(nameWidth),
      (measurement.reportedFrameBytes == 0 ? "-" : String(measurement.frameBytes)).right(5),
      (name.hasBatches ? String(measurement.batch) : "-").right(5),
      " " + (name.hasPayloads ? measurement.payload.rawValue : "-").left(9),
    ].joined(separator: " ")
  }

  /// The numbers that have columns: key, decimals and width.
  private static let columnFormats = [
    (key: "mpps", decimals: 3, width: 8), (key: "nsPerPacket", decimals: 2, width: 10),
    (key: "syscallsPerPacket", decimals: 4, width: 15),
    (key: "offeredMpps", decimals: 3, width: 8), (key: "deliveredRatio", decimals: 3, width: 9),
  ]

  private static func byKey(_ values: [(String, Double)]) -> [String: Double] {
    Dictionary(values, uniquingKeysWith: { first, _ in first })
  }

  /// The cells of a row after the measurement, with `-` for numbers that the measurement does not have.
  private func columns(_ values: [String: Double], _ decimals: Int? = nil) -> String {
    Self.columnFormats.map { column in
      let text = values[column.key]?.fixed(decimals ?? column.decimals) ?? "-"
      return " " + text.right(column.width)
    }.joined()
  }

  private var debugMark: String { Machine.isDebugBuild ? "  (debug build)" : "" }

  private func note(_ losses: Delivery.Losses) -> String {
    """
      received \(losses.received) of \(losses.offered); lost in the link \(losses.link), \
    at the port \(losses.port.map(String.init) ?? "?"), elsewhere \(losses.elsewhere)
    """
  }

  private func note(_ vale: ModuleComparison) -> String {
    "  built-in bridge \(vale.nanosecondsPerPacket.fixed(2)) ns/packet; "
      + "module / bridge \(vale.ratio.fixed(3)), the median of pairs"
  }

  private func note(_ times: RoundTripTimes) -> String {
    func microseconds(_ nanoseconds: UInt64) -> String {
      (Double(nanoseconds) / 1000).fixed(2) + " us"
    }
    return "  round trip p50 \(microseconds(times.p50)), p99 \(microseconds(times.p99)), "
      + "p99.9 \(microseconds(times.p999)), max \(microseconds(times.max))"
  }

  private func note(_ times: WakeupTimes) -> String {
    func microseconds(_ nanoseconds: Double) -> String { (nanoseconds / 1000).fixed(2) + " us" }
    return """
        wake-up by pipe             p50 \(microseconds(times.pipe.p50)), p99 \(microseconds(times.pipe.p99))
        wake-up by eventfd + poll   p50 \(microseconds(times.eventfd.p50)), p99 \(microseconds(times.eventfd.p99))
        ratio                       \(times.ratio.fixed(3))
      """
  }
}
