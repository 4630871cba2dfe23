internal import ToolSupport

/// Points in time as text: ISO 8601, UTC, with milliseconds, such as `2026-11-29T13:20:05.123Z`.
enum UTCTime {
  static var now: String { text(milliseconds: Clock.wall() / 1_000_000) }

  /// - Parameter milliseconds: Milliseconds since the beginning of 1970.
  /// - Returns: The text.
  static func text(milliseconds: UInt64) -> String {
    let seconds = Int(milliseconds / 1000)
    let (year, month, day) = date(seconds / 86_400)
    let parts = [seconds % 86_400 / 3600, seconds % 3600 / 60, seconds % 60]
    let time = parts.map { TextFormat.zeroPadded($0, 2) }.joined(separator: ":")
    let fraction = TextFormat.zeroPadded(milliseconds % 1000, 3)
    return TextFormat.zeroPadded(year, 4) + "-" + TextFormat.zeroPadded(month, 2) + "-"
      + TextFormat.zeroPadded(day, 2) + "T\(time).\(fraction)Z"
  }

  /// The Gregorian date of a day.
  ///
  /// The calculation takes years to begin in March, so that a leap day is the last day of its year.
  ///
  /// - Parameter day: Days since the beginning of 1970.
  /// - Returns: The month and the day count from 1.
  private static func date(_ day: Int) -> (year: Int, month: Int, day: Int) {
    // Days since the first of March of the year 0, in eras of 400 years.
    let days = day + 719_468
    let (era, dayOfEra) = (days / 146_097, days % 146_097)
    let yearOfEra =
      (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
  }
}
