internal import Glibc
package import ToolSupport

/// Formats the periodic report: rates since the last report.
package struct RateReport {
  /// Number of reports that `-A` averages.
  private static let window = 15

  private let scaling: UnitScaling
  private let framingBits: Int
  private let showsStatistics: Bool
  private var rates: [Double] = []

  package init(scaling: UnitScaling, framingBits: Int, showsStatistics: Bool) {
    self.scaling = scaling
    self.framingBits = framingBits
    self.showsStatistics = showsStatistics
  }

  /// - Parameters:
  ///   - tally: The work since the last report.
  ///   - microseconds: The time since the last report; more than 0.
  ///   - space: The smallest free space since the last report.
  /// - Returns: The message, without a time stamp.
  package mutating func message(
    _ tally: Tally, microseconds: UInt64, space: UInt64
  ) -> String {
    let rate = (tally.packets * 1_000_000 + microseconds / 2) / microseconds
    let bits =
      1_000_000 * (Double(tally.bytes) * 8 + Double(tally.packets) * Double(framingBits))
      / Double(microseconds)
    let batch = tally.events > 0 ? Double(tally.packets) / Double(tally.events) : 0
    return "\(scaling(Double(rate)))pps \(statistics(rate))(\(scaling(Double(tally.packets)))pkts "
      + "\(scaling(bits))bps in \(microseconds) usec) \(TextFormat.fixed(batch, 2)) avg_batch "
      + "\(space) min_space"
  }

  /// Mean and deviation of the last rates that are not 0.
  private mutating func statistics(_ rate: UInt64) -> String {
    guard showsStatistics else { return "" }
    rates.append(Double(rate))
    if rates.count > Self.window { rates.removeFirst() }
    let counted = rates.filter { $0 > 0 }
    let count = Double(max(counted.count, 1))
    let mean = counted.reduce(0, +) / count
    let deviation = sqrt(counted.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count)
    return "[avg/std \(scaling(mean))/\(scaling(deviation)) pps]"
  }
}

/// Formats the two lines at the end of a run.
package struct FinalReport: Hashable, Sendable {
  package let tally: Tally
  package let seconds: Double
  package let framingBits: Int

  package init(_ tally: Tally, seconds: Double, framingBits: Int) {
    self.tally = tally
    self.seconds = seconds
    self.framingBits = framingBits
  }

  /// A run without duration counts as one microsecond.
  private var duration: Double { seconds > 0 ? seconds : 1e-6 }

  package var packetRate: Double { Double(tally.packets) / duration }
  package var bitRate: Double { 8 * Double(tally.bytes) / duration }
  package var rawBitRate: Double {
    (8 * Double(tally.bytes) + Double(tally.packets) * Double(framingBits)) / duration
  }
  package var averageBatch: Double {
    tally.events > 0 ? Double(tally.packets) / Double(tally.events) : 0
  }

  /// The lines, beginning with `verb`: `Sent` or `Received`.
  package func lines(_ verb: String, _ scaling: UnitScaling) -> [String] {
    guard tally.packets > 0 else { return ["\(verb) nothing."] }
    return [
      "\(verb) \(tally.packets) packets \(tally.bytes) bytes \(tally.events) events "
        + "\(tally.bytes / tally.packets) bytes each in \(TextFormat.fixed(seconds, 2)) seconds.",
      "Speed: \(scaling(packetRate))pps Bandwidth: \(scaling(bitRate))bps "
        + "(raw \(scaling(rawBitRate))bps). Average batch: \(TextFormat.fixed(averageBatch, 2)) pkts",
    ]
  }
}
