internal import Foundation

/// The figures and their limits, printed one a line.
struct Sheet {
  private var failures: [String] = []

  mutating func add(_ name: String, _ value: Double, atMost limit: Double) {
    let isGood = value <= limit
    if !isGood { failures.append(name) }
    let padded = name.padding(toLength: max(name.count, 52), withPad: " ", startingAt: 0)
    print(
      padded, String(format: "%9.3f  limit %9.3f ", value, limit), isGood ? "ok" : "EXCEEDED")
    fflush(nil)
  }

  func notMeasured(_ name: String, _ reason: String) {
    print("\(name): not measured (\(reason))")
  }

  func note(_ text: String) {
    print("\n== \(text)")
    fflush(nil)
  }

  /// Notes a failure that has been printed already.
  mutating func fail(_ name: String) {
    failures.append(name)
  }

  /// - Returns: Whether every limit was kept.
  func finish() -> Bool {
    print(
      failures.isEmpty
        ? "\nall limits kept" : "\nLIMITS EXCEEDED: \(failures.joined(separator: "; "))")
    return failures.isEmpty
  }
}
