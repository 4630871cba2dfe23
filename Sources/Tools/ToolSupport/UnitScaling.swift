/// The format of rates and counts for people.
package enum UnitScaling: Hashable, Sendable {
  /// Powers of 1000, three decimals, a space, and the prefix: `14.881 M`; the caller appends the
  /// unit.
  case scaled
  /// The whole number and a space: `14880952 `.
  case plain

  private static let suffixes = ["", "K", "M", "G", "T"]

  /// The value and its prefix; the caller appends the unit without a space: `callAsFunction(x) +
  /// "pps"`.
  package func callAsFunction(_ value: Double) -> String {
    guard self == .scaled else { return TextFormat.fixed(value, 0) + " " }
    var value = value
    var index = 0
    while value >= 1000, index < Self.suffixes.count - 1 {
      value /= 1000
      index += 1
    }
    return TextFormat.fixed(value, 3) + " " + Self.suffixes[index]
  }
}
