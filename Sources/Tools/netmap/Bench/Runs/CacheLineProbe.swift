/// Measures how long a cache line takes from one CPU to another and back.
///
/// Absolute rates between two threads follow this time. On a virtual machine it changes when the hypervisor moves the
/// virtual CPUs.
enum CacheLineProbe {
  /// The duration of a probe, seconds.
  static var seconds: Double { 0.02 }

  /// Measures with a thread on each CPU.
  ///
  /// - Returns: Nanoseconds, the median over groups of round trips. Nil when both CPUs are one, or when the threads did
  ///   not run at the same time.
  static func measure(on cpus: (Int, Int)) -> Double? {
    guard cpus.0 != cpus.1 else { return nil }
    let (line, time) = (ProbeLine(), UInt64(seconds * 1e9))
    guard
      let second = try? PinnedThread(on: cpus.1, { () throws(BenchError) -> Void in line.answer() })
    else { return nil }
    let first = try? PinnedThread(on: cpus.0) { () throws(BenchError) -> [Double] in
      line.ask(for: time)
    }
    let times = try? first?.join()
    line.stop()
    _ = try? second.join()
    return RunStatistics(times ?? [])?.median
  }
}
