internal import Foundation

/// Prints figures with their limits, one per line.
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

  /// Records a failure that has already been printed.
  mutating func fail(_ name: String) {
    failures.append(name)
  }

  /// - Returns: Whether no limit was exceeded.
  func finish() -> Bool {
    print(
      failures.isEmpty
        ? "\nall limits kept" : "\nLIMITS EXCEEDED: \(failures.joined(separator: "; "))")
    return failures.isEmpty
  }
}
