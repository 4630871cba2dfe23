/// Computes the rates of counters that only grow, from their counts at two times.
package struct CounterRates<Key: Hashable> {
  private var last: (counts: [Key: UInt64], time: UInt64)?

  package init() {}

  /// Records counts, and computes the rates since the last call.
  ///
  /// - Parameters:
  ///   - counts: The present count of each counter. Counters that are missing are forgotten.
  ///   - now: The time of the counts, in nanoseconds.
  /// - Returns: Events per second, for each counter that the last call had too. A counter with a smaller count than
  ///   before is another one of the same name, and has no rate.
  package mutating func record(_ counts: [Key: UInt64], at now: UInt64) -> [Key: Double] {
    defer { last = (counts, now) }
    guard let last, now > last.time else { return [:] }
    let seconds = Double(now - last.time) / 1e9
    var rates: [Key: Double] = [:]
    for (key, count) in counts {
      if let before = last.counts[key], count >= before {
        rates[key] = Double(count - before) / seconds
      }
    }
    return rates
  }
}
