internal import CLinux
internal import Glibc

/// Another program that moves the packets, for comparison with this package.
///
/// The child starts in the calling thread's network namespace as
///
///     PROGRAM --backend xdp --mode copy --direction rx --batch 256 --frame-bytes 60 --cpu 1
///         --interface bench0 [--interface bench1]
///
/// and prints `ready` when it moves packets, or `unavailable: REASON`. For each line of input it
/// prints a line of three numbers, counted since its start: packets, system calls, lost packets;
/// `-` for a number that it does not know. The end of its standard input ends it.
struct ProgramApplication: MeasuredApplication {
  private let path: String
  private let child: ChildProcess
  private var start: Answer?
  private var stop: Answer?

  init(
    _ path: String, _ measurement: Measurement, _ traffic: Traffic, _ interfaces: [String],
    on cpu: Int
  ) throws(BenchError) {
    self.path = path
    let arguments =
      [
        path, "--backend", traffic.backend.name, "--mode", traffic.backend.mode, "--direction",
        traffic.direction.rawValue, "--batch", "\(measurement.batch)", "--frame-bytes",
        "\(measurement.frameBytes)", "--cpu", "\(cpu)",
      ] + interfaces.flatMap { ["--interface", $0] }
    child = try ChildProcess(arguments)
  }

  func waitUntilReady() throws(BenchError) {
    let line = try child.readLine(within: 30)
    if line == "ready" { return }
    let prefix = "unavailable: "
    guard line.hasPrefix(prefix) else {
      throw BenchError("\(path) printed '\(line)' instead of 'ready'")
    }
    throw BenchError("\(path): \(line.dropFirst(prefix.count))", isUnavailable: true)
  }

  mutating func begin() throws(BenchError) { start = try ask() }

  mutating func end() throws(BenchError) { stop = try ask() }

  consuming func finish() throws(BenchError) -> ApplicationReport {
    let last = try ask()
    child.end()
    guard let start, let stop else { throw BenchError("\(path) was not measured") }
    var report = ApplicationReport(
      packets: stop.packets &- start.packets,
      seconds: Double(stop.time - start.time) / 1e9, total: last.packets, lost: last.lost)
    if let end = stop.systemCalls, let begin = start.systemCalls {
      report.systemCalls = end &- begin
    }
    return report
  }

  private struct Answer {
    let time: UInt64
    let packets: UInt64
    let systemCalls: UInt64?
    let lost: UInt64?
  }

  private func ask() throws(BenchError) -> Answer {
    try child.write("\n")
    let line = try child.readLine(within: 5)
    let words = line.split(separator: " ")
    guard words.count == 3, let packets = UInt64(words[0]) else {
      throw BenchError("\(path) printed '\(line)' instead of three counters")
    }
    return Answer(
      time: monotonicNanoseconds(), packets: packets, systemCalls: UInt64(words[1]),
      lost: UInt64(words[2]))
  }
}
