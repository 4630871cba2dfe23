internal import Glibc

/// Writes diagnostics, one line each: `SSS.uuuuuu function [line] message`.
///
/// `SSS` is the wall-clock time in seconds modulo 1000. The number in brackets is a line of the
/// source code. Scripts match the function word and the message.
package struct ToolLog: Sendable {
  private let sink: TextSink
  private let clock: @Sendable () -> UInt64

  /// - Parameters:
  ///   - sink: Receives the lines.
  ///   - clock: Nanoseconds since 1970.
  package init(
    to sink: TextSink = .standardError, clock: @escaping @Sendable () -> UInt64 = Clock.wall
  ) {
    self.sink = sink
    self.clock = clock
  }

  /// Writes one line.
  package func callAsFunction(
    _ message: String, function: String = #function, line: Int = #line
  ) {
    let microseconds = clock() / 1000
    let seconds = TextFormat.zeroPadded(microseconds / 1_000_000 % 1000, 3)
    let fraction = TextFormat.zeroPadded(microseconds % 1_000_000, 6)
    let word = function.prefix { $0 != "(" }
    sink.line("\(seconds).\(fraction) \(word) [\(line)] \(message)")
  }
}

/// Limits a message to a number of times per second, for warnings in hot loops.
package struct RateLimit {
  private let limit: Int
  private var second: UInt64 = 0
  private var count = 0

  /// - Parameter limit: Messages per second.
  package init(_ limit: Int) {
    self.limit = limit
  }

  /// Whether the caller may write one more message now.
  package mutating func allows(at nanoseconds: UInt64 = Clock.monotonic()) -> Bool {
    let now = nanoseconds / 1_000_000_000
    if now != second { (second, count) = (now, 0) }
    count += 1
    return count <= limit
  }
}
