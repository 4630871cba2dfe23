/// Summarizes the values that one number had in several runs.
struct RunStatistics: Equatable {
  let median: Double
  let minimum: Double
  let maximum: Double
  /// The upper quartile minus the lower quartile.
  let interquartileRange: Double

  /// Summarizes the finite values, which may be in any order; nil when there are none.
  init?(_ values: [Double]) {
    let sorted = values.filter(\.isFinite).sorted()
    guard let first = sorted.first, let last = sorted.last else { return nil }
    minimum = first
    maximum = last
    median = Self.quantile(0.5, of: sorted)
    interquartileRange = Self.quantile(0.75, of: sorted) - Self.quantile(0.25, of: sorted)
  }

  /// The interquartile range in percent of the median; NaN when the median is 0 and the quartiles differ.
  var spreadPercent: Double {
    guard interquartileRange > 0 else { return 0 }
    return median == 0 ? .nan : interquartileRange / abs(median) * 100
  }

  /// A quantile, interpolated between the two nearest values, as the defaults of R and NumPy do.
  ///
  /// - Parameters:
  ///   - fraction: 0 for the minimum, 1 for the maximum.
  ///   - sorted: The values in ascending order; at least one.
  /// - Returns: The value below which this fraction of the values is.
  static func quantile(_ fraction: Double, of sorted: [Double]) -> Double {
    let position = fraction * Double(sorted.count - 1)
    let index = Int(position)
    guard index + 1 < sorted.count else { return sorted[sorted.count - 1] }
    return sorted[index] + (sorted[index + 1] - sorted[index]) * (position - Double(index))
  }
}
