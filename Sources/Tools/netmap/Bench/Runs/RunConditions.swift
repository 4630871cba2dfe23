/// What the rest of the machine did during a run.
struct RunConditions {
  /// Duration of the run with its setup, seconds.
  var seconds: Double
  /// Average number of runnable tasks in the minute before the run; NaN when unknown.
  ///
  /// It does not make a run a disturbed one, because it includes the previous runs of the bench itself.
  var loadAverage = Double.nan
  /// CPU time that the hypervisor took from the measuring CPUs, seconds; NaN when unknown.
  var stolenSeconds = Double.nan
  /// The number of measuring CPUs.
  var measuringCPUs = 2
  /// CPU time that other processes used on all CPUs, seconds; NaN when unknown.
  var otherSeconds = Double.nan
  /// The number of all CPUs.
  var cpus = 2
  /// Involuntary context switches of this process's measuring threads.
  var preemptions = 0
  /// Whether each measuring thread has a CPU for itself and its packets, so that only other work preempts it.
  var judgesPreemptions = true
  /// Round trip of a cache line between the measuring CPUs before the run, nanoseconds; NaN when unknown.
  var cacheLineNanoseconds = Double.nan
  /// The same before the first run of the bench; NaN when unknown, or when the case uses one CPU.
  var firstCacheLineNanoseconds = Double.nan

  var stolenPercent: Double { stolenSeconds / (seconds * Double(measuringCPUs)) * 100 }
  var otherPercent: Double { otherSeconds / (seconds * Double(cpus)) * 100 }
  var preemptionsPerSecond: Double { Double(preemptions) / seconds }

  /// From when on a run counts as disturbed.
  enum Limits {
    /// A run that lost 1 % of its CPU time cannot show differences of 1 %.
    static let stolenPercent = 1.0
    /// Two ticks of the kernel's counters: one tick can belong to the time before the run.
    static let stolenSeconds = 0.02
    /// The daemons of a quiet machine use less than 1 %, and differences of a few percent are of interest.
    static let otherPercent = 3.0
    /// Three ticks, because the kernel samples busy time once per tick but measures the time of a process.
    static let otherSeconds = 0.03
    /// Kernel threads of a quiet machine preempt a spinning thread some ten times per second. A process that
    /// competes for its CPU preempts it at the end of each time slice of about 3 ms.
    static let preemptionsPerSecond = 100.0
    /// A short run begins and ends with a few preemptions.
    static let preemptions = 20
    /// Two probes on one placement of virtual CPUs differ by less; two placements differ by more.
    static let cacheLineFactor = 1.5
  }

  /// A reason why the run's figures are doubtful.
  struct Disturbance: Hashable {
    enum Kind {
      case stolenTime, otherProcesses, preemptions, cacheLine
    }

    let kind: Kind
    let text: String
  }

  var disturbances: [Disturbance] {
    var found: [Disturbance] = []
    // Comparisons with NaN are false.
    if stolenSeconds >= Limits.stolenSeconds && stolenPercent >= Limits.stolenPercent {
      found.append(
        Disturbance(
          kind: .stolenTime,
          text: "the hypervisor took \(stolenPercent.fixed(1)) % of the measuring CPUs' time"))
    }
    if otherSeconds >= Limits.otherSeconds && otherPercent >= Limits.otherPercent {
      found.append(
        Disturbance(
          kind: .otherProcesses,
          text: "other processes used \(otherPercent.fixed(1)) % of the time of all CPUs"))
    }
    if judgesPreemptions && preemptions >= Limits.preemptions
      && preemptionsPerSecond >= Limits.preemptionsPerSecond
    {
      found.append(
        Disturbance(
          kind: .preemptions,
          text: "the kernel preempted the measuring threads \(preemptions) times"))
    }
    let (now, before) = (cacheLineNanoseconds, firstCacheLineNanoseconds)
    if max(now / before, before / now) >= Limits.cacheLineFactor {
      found.append(
        Disturbance(
          kind: .cacheLine,
          text: "a cache-line round trip took \(now.fixed(0)) ns, before the first run "
            + "\(before.fixed(0)) ns"))
    }
    return found
  }

  var numbers: [BenchNumber] {
    [
      BenchNumber("loadAverage", loadAverage, "tasks"),
      BenchNumber("stealPercent", stolenPercent, "%"),
      BenchNumber("otherCPUPercent", otherPercent, "%"),
      BenchNumber("involuntarySwitches", whole: preemptions, "switches"),
      BenchNumber("cacheLineNs", cacheLineNanoseconds, "ns"),
    ]
  }

  /// Whether only other work preempts the measuring threads of a measurement.
  static func judgesPreemptions(of measurement: Measurement, on cpus: (Int, Int)) -> Bool {
    // The kernel's packet processing competes with these threads for their CPUs.
    if measurement.name.traffic != nil { return false }
    switch measurement.name {
    // More threads than CPUs: three senders, or netmapd's worker, which copies the packets.
    case .valeManyToOne, .isolatedPipe, .isolatedVeth: return false
    default: return measurement.name.isOnOneCPU || cpus.0 != cpus.1
    }
  }
}
