internal import Glibc

/// Writes results to standard output, each as soon as it is known.
struct Report {
  let machine: Machine
  let isJSON: Bool
  private var hasHeader = false
  private let showsProgress = isatty(STDERR_FILENO) != 0

  init(machine: Machine, isJSON: Bool) {
    self.machine = machine
    self.isJSON = isJSON
  }

  /// Says on a terminal what is being measured.
  func announce(_ measurement: Measurement, _ number: Int, of total: Int) {
    guard showsProgress else { return }
    let payload = measurement.name.movesBatches ? " \(measurement.payload.rawValue)" : ""
    let batch = measurement.name.movesBatches ? " batch \(measurement.batch)" : ""
    writeError("\r\u{1b}[K[\(number)/\(total)] \(measurement.name.rawValue)\(batch)\(payload)\r")
  }

  mutating func add(_ result: BenchResult) {
    clearProgress()
    // A reader at the other end of a pipe sees each result at once.
    defer { fflush(nil) }
    if isJSON { return print(result.json(on: machine)) }
    if !hasHeader {
      hasHeader = true
      print(header)
    }
    print(row(result))
    if let wakeup = result.wakeup { print(note(wakeup)) }
  }

  func clearProgress() {
    if showsProgress { writeError("\r\u{1b}[K") }
  }

  private var header: String {
    let warning =
      Machine.isDebugBuild
      ? "DEBUG BUILD: these figures say nothing about speed; build with 'swift build -c release'\n"
      : ""
    return """
      netmap bench \(Version.text): \(machine.description)
      \(warning)
      case       batch  payload       Mpps   ns/packet  syscalls/packet
      """
  }

  private func row(_ result: BenchResult) -> String {
    let measurement = result.measurement
    let isBatched = measurement.name.movesBatches
    let columns = [
      measurement.name.rawValue.left(9),
      (isBatched ? String(measurement.batch) : "-").right(6),
      " " + (isBatched ? measurement.payload.rawValue : "-").left(9),
      result.millionsPerSecond.fixed(3).right(8),
      result.nanosecondsPerPacket.fixed(2).right(10),
      result.systemCallsPerPacket.fixed(4).right(15),
    ]
    return columns.joined(separator: " ") + (Machine.isDebugBuild ? "  (debug build)" : "")
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
