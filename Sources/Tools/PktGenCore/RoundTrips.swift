internal import ToolSupport

/// The results of `ping`.
package struct RoundTripSummary: Hashable, Sendable {
  package var sent: UInt64 = 0
  package var replies: UInt64 = 0
  /// Replies to requests that were answered before.
  package var duplicates: UInt64 = 0
  /// Frames that are no reply to a request of this run.
  package var foreign: UInt64 = 0
  /// Times in nanoseconds; 0 without replies.
  package var minimum: UInt64 = 0
  package var average: UInt64 = 0
  package var maximum: UInt64 = 0

  package var lost: UInt64 { sent > replies ? sent - replies : 0 }
}

/// Collects round trip times, per second and for the whole run.
struct RoundTrips {
  private(set) var summary = RoundTripSummary()
  private var sum: UInt64 = 0
  private var secondCount: UInt64 = 0
  private var secondSum: UInt64 = 0
  private var secondMinimum: UInt64 = .max
  private var buckets = [UInt64](repeating: 0, count: 64)

  /// Number of recent requests for which the table keeps whether they were answered.
  private static let window: UInt64 = 1 << 16
  private var answered = [Bool](repeating: false, count: Int(window))

  /// Records that a request is sent.
  ///
  /// - Returns: The request's number, from 0.
  mutating func send() -> UInt64 {
    let number = summary.sent
    answered[Int(number % Self.window)] = false
    summary.sent += 1
    return number
  }

  /// Records a received frame.
  ///
  /// - Parameters:
  ///   - sequence: The low 32 bits of the request's number, from the frame.
  ///   - nanoseconds: The round trip time.
  mutating func receive(_ sequence: UInt32, after nanoseconds: UInt64) {
    // The age in requests; the most recent request has age 1.
    let age = UInt64(UInt32(truncatingIfNeeded: summary.sent) &- sequence)
    guard age >= 1, age <= min(summary.sent, Self.window) else {
      summary.foreign += 1
      return
    }
    let place = Int((summary.sent - age) % Self.window)
    if answered[place] {
      summary.duplicates += 1
      return
    }
    answered[place] = true
    if summary.replies == 0 { summary.minimum = nanoseconds }
    summary.replies += 1
    sum += nanoseconds
    summary.minimum = min(summary.minimum, nanoseconds)
    summary.maximum = max(summary.maximum, nanoseconds)
    summary.average = sum / summary.replies
    secondCount += 1
    secondSum += nanoseconds
    secondMinimum = min(secondMinimum, nanoseconds)
    buckets[nanoseconds == 0 ? 0 : 63 - nanoseconds.leadingZeroBitCount] += 1
  }

  mutating func receiveForeign() {
    summary.foreign += 1
  }

  /// Returns the messages about the last second and starts a new second.
  ///
  /// The second message is missing without replies.
  mutating func takeSecond() -> [String] {
    defer {
      (secondCount, secondSum, secondMinimum) = (0, 0, .max)
      buckets = [UInt64](repeating: 0, count: 64)
    }
    guard secondCount > 0, let low = buckets.firstIndex(where: { $0 > 0 }),
      let high = buckets.lastIndex(where: { $0 > 0 })
    else { return ["count 0 RTT: min 0 av 0 ns"] }
    let counts = buckets[low...high].map { " " + TextFormat.padded($0, 5) }.joined()
    return [
      "count \(secondCount) RTT: min \(secondMinimum) av \(secondSum / secondCount) ns",
      "k: \(UInt64(1) << UInt64(low)) .. \(UInt64(1) << UInt64(high))\n\t\(counts)",
    ]
  }

  /// The message at the end.
  var finalMessage: String {
    "RTT over \(summary.replies) packets: min \(summary.minimum) av \(summary.average) ns"
  }
}
