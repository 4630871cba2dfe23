internal import Glibc

/// Observes the machine from the beginning of a run to its end.
struct RunWatch {
  private let start: Sample
  /// The measuring CPUs.
  private let cpus: Set<Int>
  private let usesDaemon: Bool
  private var conditions: RunConditions

  /// Begins to observe.
  ///
  /// - Parameters:
  ///   - measurement: The measurement that is about to run.
  ///   - cpus: The CPUs of the measuring threads; the first one for a case with one thread.
  ///   - cacheLine: The round trip of a cache line between them, nanoseconds; nil when unknown.
  ///   - first: The same before the first run of the bench.
  init(_ measurement: Measurement, on cpus: (Int, Int), cacheLine: Double?, first: Double?) {
    self.cpus = measurement.name.isOnOneCPU ? [cpus.0] : [cpus.0, cpus.1]
    usesDaemon = measurement.name.isBetweenProcesses
    conditions = RunConditions(seconds: 0)
    conditions.loadAverage =
      fileText("/proc/loadavg")?.split(separator: " ").first.flatMap { Double($0) } ?? .nan
    conditions.measuringCPUs = self.cpus.count
    conditions.judgesPreemptions = RunConditions.judgesPreemptions(of: measurement, on: cpus)
    conditions.cacheLineNanoseconds = cacheLine ?? .nan
    // The work of one CPU does not depend on the distance to another one.
    if self.cpus.count == 2 { conditions.firstCacheLineNanoseconds = first ?? .nan }
    _ = PreemptionCount.take()
    start = Sample(usesDaemon)
  }

  /// Ends the observation; call it when the threads and child processes of the run have ended.
  func end() -> RunConditions {
    let end = Sample(usesDaemon)
    var conditions = conditions
    conditions.seconds = Double(end.time - start.time) / 1e9
    conditions.preemptions = PreemptionCount.take()
    guard let before = start.processors, let after = end.processors else { return conditions }
    conditions.cpus = after.cpus.count
    let busy = Self.seconds(after.all.busy - before.all.busy)
    let daemon = max(0, end.daemonSeconds - start.daemonSeconds)
    // The counters are not exact, so the difference can be negative.
    conditions.otherSeconds = max(0, busy - (end.ownSeconds - start.ownSeconds) - daemon)
    conditions.stolenSeconds = cpus.reduce(0) { sum, cpu in
      sum + Self.seconds((after.cpus[cpu]?.steal ?? 0) - (before.cpus[cpu]?.steal ?? 0))
    }
    return conditions
  }

  private struct Sample {
    let time = monotonicNanoseconds()
    let processors = fileText("/proc/stat").flatMap { ProcessorTimes(stat: $0) }
    let ownSeconds = RunWatch.ownSeconds
    let daemonSeconds: Double

    init(_ usesDaemon: Bool) {
      daemonSeconds = usesDaemon ? RunWatch.daemonSeconds : 0
    }
  }

  private static func seconds(_ ticks: Int) -> Double {
    Double(ticks) / Double(max(1, sysconf(CInt(_SC_CLK_TCK))))
  }

  /// CPU time of this process and of its children that have ended.
  private static var ownSeconds: Double {
    [RUSAGE_SELF, RUSAGE_CHILDREN].reduce(0) { sum, who in
      var usage = rusage()
      guard unsafe getrusage(__rusage_who_t(who.rawValue), &usage) == 0 else { return sum }
      return sum + seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
  }

  private static func seconds(_ time: timeval) -> Double {
    Double(time.tv_sec) + Double(time.tv_usec) / 1e6
  }

  /// CPU time of the processes of netmapd, which work for the cases between processes.
  private static var daemonSeconds: Double {
    guard let folder = unsafe opendir("/proc") else { return 0 }
    defer { unsafe closedir(folder) }
    var ticks = 0
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard Int(name) != nil, let text = fileText("/proc/\(name)/stat"),
        let process = ProcessTimes(stat: text), process.name.hasPrefix("netmapd")
      else { continue }
      ticks += process.ticks
    }
    return seconds(ticks)
  }
}
