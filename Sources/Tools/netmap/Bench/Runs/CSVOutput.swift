internal import Glibc

/// Lines of comma-separated values, quoted as RFC 4180 describes.
enum CSVLine {
  static func text(_ fields: [String]) -> String {
    fields.map(quoted).joined(separator: ",")
  }

  private static func quoted(_ field: String) -> String {
    let special: [Unicode.Scalar] = [",", "\"", "\r", "\n"]
    guard field.unicodeScalars.contains(where: { special.contains($0) }) else { return field }
    var result = "\""
    for scalar in field.unicodeScalars {
      if scalar == "\"" { result += "\"" }
      result.unicodeScalars.append(scalar)
    }
    return result + "\""
  }
}

/// A CSV file of runs: a header, then a line per run and number.
final class CSVOutput {
  static let columns = [
    "case", "backend", "mode", "direction", "frameBytes", "batch", "payload", "flows", "interface",
    "metric", "unit", "value", "run", "time", "disturbed",
  ]

  private let path: String
  private let file: CInt

  /// Creates the file, or empties it, and writes the header.
  ///
  /// - Parameter path: The file; `-` for standard output.
  /// - Throws: ``BenchError`` when the file cannot be written.
  init(path: String) throws(BenchError) {
    self.path = path
    file =
      path == "-"
      ? STDOUT_FILENO : unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard file >= 0 else { throw Self.failure(path, errno) }
    try write(CSVLine.text(Self.columns) + "\n")
  }

  deinit { if file > STDERR_FILENO { close(file) } }

  /// Writes the lines of a run at once, so that an interrupted bench leaves complete runs.
  func add(_ run: BenchRun) throws(BenchError) {
    try write(Self.lines(of: run).map { $0 + "\n" }.joined())
  }

  static func lines(of run: BenchRun) -> [String] {
    let measurement = run.result.measurement
    let isDisturbed = !run.conditions.disturbances.isEmpty
    let parameters = [
      measurement.name.rawValue, measurement.name.backendName, measurement.mode,
      measurement.name.direction, String(measurement.reportedFrameBytes),
      String(measurement.batch), measurement.name.hasPayloads ? measurement.payload.rawValue : "",
      measurement.name.hasFlows ? String(measurement.flows) : "", measurement.interface ?? "",
    ]
    return run.numbers.map { number in
      CSVLine.text(
        parameters + [number.key, number.unit, number.text]
          + [String(run.number), run.time, String(isDisturbed)])
    }
  }

  private func write(_ text: String) throws(BenchError) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { bytes in
        unsafe Glibc.write(file, bytes.baseAddress, bytes.count)
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw Self.failure(path, errno) }
      rest = rest.dropFirst(count)
    }
  }

  private static func failure(_ path: String, _ code: CInt) -> BenchError {
    BenchError("\(path): \(unsafe String(cString: strerror(code)))")
  }
}
