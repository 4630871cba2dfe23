internal import ProcessFiles

/// Measures time without the part in which a process that takes part waited for a CPU.
///
/// A limit of this time holds beside threads of a higher priority as well, which may keep a process from every CPU for
/// seconds.
package struct FixtureClock {
  private let start = ContinuousClock.now
  private let own = CPUWaits.ofThisThread
  private var waits: CPUWaits

  fileprivate init(_ processes: [Int32]) { waits = CPUWaits(of: processes) }

  /// Remembers the waits so far. Needed before a process ends whose waits are to be left out.
  package mutating func look() { waits.look() }

  /// The time since the beginning. Waits of two processes at the same time are both left out, so it may be too short, and
  /// is 0 or more.
  package var time: Duration {
    let waited = CPUWaits.ofThisThread &- own + waits.total
    return max(.zero, start.duration(to: .now) - .nanoseconds(Int64(clamping: waited)))
  }
}

extension DaemonFixture {
  /// Begins to measure time in which neither this thread, the daemon nor another process waits for a CPU.
  ///
  /// - Parameter others: The other processes that take part.
  /// - Returns: The clock.
  package func clock(with others: [Int32] = []) -> FixtureClock {
    FixtureClock(Set([daemon?.process, serving].compactMap { $0 }) + others)
  }

  /// Measures an operation of this thread and the daemon by ``FixtureClock``.
  package func time(of body: () throws -> Void) rethrows -> Duration {
    let clock = clock()
    try body()
    return clock.time
  }
}
