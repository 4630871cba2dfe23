/// Who moves the measured packets: this package, or another program.
protocol MeasuredApplication {
  /// Waits until its ports are open; the clock has not started yet.
  func waitUntilReady() throws(BenchError)

  /// Called when the measured time begins.
  mutating func begin() throws(BenchError)

  /// Called when the measured time ends.
  ///
  /// - Returns: What was done in it, as far as it is known at this time.
  mutating func end() throws(BenchError)

  /// Called when all packets have come to rest.
  consuming func finish() throws(BenchError) -> ApplicationReport
}

/// What an application did.
struct ApplicationReport: Sendable {
  /// In the measured time.
  var packets: UInt64 = 0
  var systemCalls: UInt64?
  var seconds = 0.0
  /// In the whole run.
  var total: UInt64 = 0
  /// Packets lost at its port, as it counts; nil when it does not.
  var lost: UInt64?
}
