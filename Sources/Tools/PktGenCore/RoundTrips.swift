internal import ToolSupport

/// What `ping` found out.
package struct RoundTripSummary: Hashable, Sendable {
  package var sent: UInt64 = 0
  package var replies: UInt64 = 0
  /// Replies to a request that had been answered before.
  package var duplicates: UInt64 = 0
  /// Frames that answer no request of this run.
  package var foreign: UInt64 = 0
  /// Nanoseconds; 0 when there were no replies.
  package var minimum: UInt64 = 0
  package var average: UInt64 = 0
  package var maximum: UInt64 = 0

  package var lost: UInt64 { sent > replies ? sent - replies : 0 }
}

/// Collects round-trip times: those of the current second, and all of them.
struct RoundTrips {
  private(set) var summary = RoundTripSummary()
  private var sum: UInt64 = 0
  private var secondCount: UInt64 = 0
  private var secondSum: UInt64 = 0
  private var secondMinimum: UInt64 = .max
  private var buckets = [UInt64](repeating: 0, count: 64)

  /// How many of the last requests are remembered as answered or not.
  private static let window: UInt64 = 1 << 16
  private var answered = [Bool](repeating: false, count: Int(window))

  /// Notes that a request has been sent.
  ///
  /// - Returns: Its number, from 0.
  mutating func send() -> UInt64 {
    let number = summary.sent
    answered[Int(number % Self.window)] = false
    summary.sent += 1
    return number
  }

  /// Notes a frame that came back.
  ///
  /// - Parameters:
  ///   - sequence: The low 32 bits of the request's number, as the frame has them.
  ///   - nanoseconds: The time it took.
  mutating func receive(_ sequence: UInt32, after nanoseconds: UInt64) {
    // How many requests ago it was sent, 1 being the last one.
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

  /// The two messages about a second; the second one is missing when there was no reply. What follows
  /// belongs to the next second.
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
