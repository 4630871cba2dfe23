internal import Glibc

/// Diagnostics, one line each: `SSS.uuuuuu function [line] message`.
///
/// `SSS` are wall-clock seconds modulo 1000. The number in brackets is the line of the source, and
/// means nothing to a reader; scripts match on the function word and the message.
package struct ToolLog: Sendable {
  private let sink: TextSink
  private let clock: @Sendable () -> UInt64

  /// - Parameters:
  ///   - sink: Where the lines go.
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

/// Lets a message through at most so many times each second; for warnings in loops that run hot.
package struct RateLimit {
  private let limit: Int
  private var second: UInt64 = 0
  private var count = 0

  /// - Parameter limit: Messages in one second.
  package init(_ limit: Int) {
    self.limit = limit
  }

  /// Whether one more message may be written now.
  package mutating func allows(at nanoseconds: UInt64 = Clock.monotonic()) -> Bool {
    let now = nanoseconds / 1_000_000_000
    if now != second { (second, count) = (now, 0) }
    count += 1
    return count <= limit
  }
}
