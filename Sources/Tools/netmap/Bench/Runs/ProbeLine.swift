internal import Glibc
internal import Synchronization

/// The word that two threads increment in turns.
final class ProbeLine: Sendable {
  private let word = Atomic<Int>(0)
  private let answers = Atomic<Bool>(false)

  private static var stopped: Int { -1 }
  private static var tripsPerGroup: Int { 100 }
  /// The longest duration of a probe on a busy machine, nanoseconds.
  private static var patience: UInt64 { 200_000_000 }

  /// Increments odd numbers until ``stop()``.
  func answer() {
    answers.store(true, ordering: .releasing)
    var next = 1
    while true {
      let value = word.load(ordering: .acquiring)
      if value == Self.stopped { return }
      guard value == next else { continue }
      next &+= 2
      // Another thread may have stored `stopped`.
      _ = word.compareExchange(
        expected: value, desired: value &+ 1, ordering: .acquiringAndReleasing)
    }
  }

  /// Increments even numbers for a time.
  ///
  /// - Returns: Nanoseconds per round trip, of each group of round trips.
  func ask(for time: UInt64) -> [Double] {
    let limit = monotonicNanoseconds() &+ Self.patience
    while !answers.load(ordering: .acquiring) {
      if monotonicNanoseconds() > limit { return [] }
      sched_yield()
    }
    var times: [Double] = []
    var value = 0
    let first = monotonicNanoseconds()
    var start = first
    while start &- first < time {
      for _ in 0..<Self.tripsPerGroup {
        word.store(value &+ 1, ordering: .releasing)
        value &+= 2
        var spins = 0
        while word.load(ordering: .acquiring) != value {
          spins &+= 1
          if spins & 0xffff == 0 && monotonicNanoseconds() > limit { return times }
        }
      }
      let end = monotonicNanoseconds()
      times.append(Double(end &- start) / Double(Self.tripsPerGroup))
      start = end
    }
    return times
  }

  func stop() { word.store(Self.stopped, ordering: .releasing) }
}
