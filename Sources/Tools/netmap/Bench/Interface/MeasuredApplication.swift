/// The application that moves the measured packets: this package, or another program.
protocol MeasuredApplication {
  /// Waits until the application's ports are open, before the clock starts.
  func waitUntilReady() throws(BenchError)

  /// Called when the measured time begins.
  mutating func begin() throws(BenchError)

  /// Called when the measured time ends; the application records its counters.
  mutating func end() throws(BenchError)

  /// Called when no more packets are in flight.
  consuming func finish() throws(BenchError) -> ApplicationReport
}

/// The counters of an application.
struct ApplicationReport: Sendable {
  /// Packets moved in the measured time.
  var packets: UInt64 = 0
  var systemCalls: UInt64?
  var seconds = 0.0
  /// Packets moved in the whole run.
  var total: UInt64 = 0
  /// Bytes of the packets received in the whole run; nil when the application sends, or does not count them.
  var bytes: UInt64?
  /// Packets lost at the application's port by its own count; nil when it does not count them.
  var lost: UInt64?
}
