internal import Glibc
internal import Synchronization

/// Tells the threads of a measurement which phase they are in.
final class Control: Sendable {
  enum Phase: UInt32 {
    /// In `draining`, senders send nothing new, and packets in flight may arrive.
    case starting, warming, measuring, draining, stopped
  }

  private let word = Atomic<UInt32>(Phase.starting.rawValue)
  private let arrivals = Atomic<Int>(0)

  /// One relaxed load.
  ///
  /// Between two changes of phase the cache line stays in every CPU's cache.
  @inline(__always)
  func isIn(_ phase: Phase) -> Bool { word.load(ordering: .relaxed) == phase.rawValue }

  func enter(_ phase: Phase) { word.store(phase.rawValue, ordering: .releasing) }

  /// Reports that this thread is ready, and waits for the start.
  func waitForStart() {
    arrivals.wrappingAdd(1, ordering: .releasing)
    while isIn(.starting) { sched_yield() }
    PreemptionCount.excludePast()
  }

  /// Starts `count` threads together once all are ready; returns at once if one of them has failed
  /// before.
  func start(_ count: Int, in phase: Phase) {
    while arrivals.load(ordering: .acquiring) < count && isIn(.starting) { sched_yield() }
    advance(from: .starting, to: phase)
  }

  /// Enters the next phase, unless a thread has stopped the measurement.
  func advance(from old: Phase, to new: Phase) {
    _ = word.compareExchange(
      expected: old.rawValue, desired: new.rawValue, ordering: .acquiringAndReleasing)
  }

  /// Runs `body`; if it throws, stops the measurement so that no other thread keeps waiting.
  func stoppingOnError<Value>(
    _ body: () throws(BenchError) -> Value
  ) throws(BenchError) -> Value {
    do throws(BenchError) {
      return try body()
    } catch {
      enter(.stopped)
      throw error
    }
  }
}

/// The monotonic clock, in seconds.
func monotonicSeconds() -> Double {
  Double(monotonicNanoseconds()) / 1e9
}

/// The monotonic clock, in nanoseconds.
@inline(__always)
func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

/// Sleeps for the whole time, also if signal handlers run.
func sleepThread(seconds: Double) {
  var left = timespec(
    tv_sec: Int(seconds), tv_nsec: Int(seconds.truncatingRemainder(dividingBy: 1) * 1e9))
  var interrupted = true
  while interrupted {
    let wanted = left
    interrupted = unsafe withUnsafePointer(to: wanted) { unsafe nanosleep($0, &left) } != 0
  }
}
