internal import Glibc
internal import ToolSupport

/// Writes each result to standard output as soon as it is known.
struct Report {
  let machine: Machine
  let isJSON: Bool
  private var hasHeader = false
  private let showsProgress = isatty(STDERR_FILENO) != 0

  init(machine: Machine, isJSON: Bool) {
    self.machine = machine
    self.isJSON = isJSON
  }

  /// Prints the current measurement, if standard error is a terminal.
  func announce(_ measurement: Measurement, _ number: Int, of total: Int) {
    guard showsProgress else { return }
    let payload = measurement.name.isPipe ? " \(measurement.payload.rawValue)" : ""
    let batch = measurement.name.hasBatches ? " batch \(measurement.batch)" : ""
    let frame = !measurement.name.hasLengths ? "" : " \(measurement.frameBytes) bytes"
    writeError(
      "\r\u{1b}[K[\(number)/\(total)] \(measurement.name.rawValue)\(frame)\(batch)\(payload)\r")
  }

  mutating func add(_ result: BenchResult) {
    clearProgress()
    // So that a process that reads the output through a pipe gets each result at once.
    defer { fflush(nil) }
    if isJSON { return print(result.json(on: machine)) }
    printHeader()
    print(row(result))
    if let wakeup = result.wakeup { print(note(wakeup)) }
    if let vale = result.vale { print(note(vale)) }
    if let times = result.roundTrips { print(note(times)) }
    if let losses = result.delivery?.losses { print(note(losses)) }
  }

  /// Prints that a measurement was not possible, and the reason.
  mutating func notMeasured(_ measurement: Measurement, _ reason: String) {
    clearProgress()
    defer { fflush(nil) }
    if isJSON {
      var line = JSONLine()
      measurement.describe(in: &line)
      line.add("measured", false)
      line.add("reason", reason)
      machine.describe(in: &line)
      return print(line.text)
    }
    printHeader()
    print("\(cells(measurement)) not measured: \(reason)")
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
    return """
      netmap bench \(Version.text): \(machine.description)
      \(warning)
      \("case".left(nameWidth)) bytes batch  payload       Mpps  ns/packet syscalls/packet  offered delivered
      """
  }

  private var nameWidth: Int { Measurement.Case.nameWidth }

  /// The measurement, as the first cells of a row.
  private func cells(_ measurement: Measurement) -> String {
    let name = measurement.name
    return [
      name.rawValue.left(nameWidth),
      (name == .null ? "-" : String(measurement.frameBytes)).right(5),
      (name.hasBatches ? String(measurement.batch) : "-").right(5),
      " " + (name.isPipe ? measurement.payload.rawValue : "-").left(9),
    ].joined(separator: " ")
  }

  private func row(_ result: BenchResult) -> String {
    let columns = [
      cells(result.measurement),
      result.millionsPerSecond.fixed(3).right(8),
      result.nanosecondsPerPacket.fixed(2).right(10),
      result.systemCallsPerPacket.fixed(4).right(15),
      (result.delivery?.offeredMpps.fixed(3) ?? "-").right(8),
      (result.delivery?.ratio.fixed(3) ?? "-").right(9),
    ]
    return columns.joined(separator: " ") + (Machine.isDebugBuild ? "  (debug build)" : "")
  }

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
