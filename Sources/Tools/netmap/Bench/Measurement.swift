/// One thing to measure.
struct Measurement: Hashable {
  /// The cases, in the order they are run.
  enum Case: String, CaseIterable {
    case pipeOneThread = "pipe-1t"
    case pipeTwoThreads = "pipe-2t"
    case null
    case wakeup

    var summary: String {
      switch self {
      case .pipeOneThread: "a pipe, both ends driven by one thread"
      case .pipeTwoThreads: "a pipe between two threads on two CPUs"
      case .null: "a sync of a null port: what a sync itself costs"
      case .wakeup: "a pipe between sleeping threads; next to it, eventfd + poll"
      }
    }

    /// All cases, one a line, for help texts.
    static var overview: String {
      allCases.map { "  \($0.rawValue.left(9)) \($0.summary)" }.joined(separator: "\n")
    }

    /// Whether batch size and payload mean anything.
    var movesBatches: Bool { self == .pipeOneThread || self == .pipeTwoThreads }
  }

  enum PayloadKind: String, CaseIterable {
    case untouched, touched, verified
  }

  let name: Case
  /// Packets for each sync.
  let batch: Int
  let payload: PayloadKind
}

/// What a measurement found.
struct BenchResult {
  let measurement: Measurement
  /// Packets received; syncs for `null`, round trips for `wakeup`.
  var packets: UInt64
  var seconds: Double
  var systemCalls: UInt64
  /// Set by `wakeup`.
  var wakeup: WakeupTimes?

  var nanosecondsPerPacket: Double { seconds * 1e9 / Double(packets) }
  var millionsPerSecond: Double { Double(packets) / seconds / 1e6 }
  var systemCallsPerPacket: Double { Double(systemCalls) / Double(packets) }

  private var frameBytes: Int {
    measurement.name == .null ? 0 : testFrameBytes
  }

  private var direction: String {
    measurement.name == .null ? "tx" : "both"
  }

  /// The result as one JSON object; the keys are described in `netmap bench --help`.
  func json(on machine: Machine) -> String {
    var line = JSONLine()
    line.add("schema", 1)
    line.add("case", measurement.name.rawValue)
    line.add("backend", measurement.name == .null ? "null" : "pipe")
    line.add("mode", "embedded")
    line.add("frameBytes", frameBytes)
    line.add("batch", measurement.batch)
    line.add("direction", direction)
    line.add("mpps", millionsPerSecond)
    line.add("nsPerPacket", nanosecondsPerPacket)
    line.add("syscallsPerPacket", systemCallsPerPacket)
    if measurement.name.movesBatches { line.add("payload", measurement.payload.rawValue) }
    line.add("packets", packets)
    line.add("seconds", seconds)
    if let wakeup {
      line.add("p50", wakeup.pipe.p50)
      line.add("p99", wakeup.pipe.p99)
      line.add("baselineP50", wakeup.eventfd.p50)
      line.add("baselineP99", wakeup.eventfd.p99)
      line.add("ratio", wakeup.ratio)
    }
    line.add("kernel", machine.kernel)
    line.add("cpu", machine.cpuModel)
    line.add("cpus", machine.cpus.count)
    line.add("build", machine.build)
    line.add("version", Version.text)
    return line.text
  }
}

/// How long a wake-up takes: half a round trip, nanoseconds.
struct WakeupTimes {
  struct Percentiles {
    let p50: Double
    let p99: Double
  }

  let pipe: Percentiles
  let eventfd: Percentiles
  /// The pipe's median over that of eventfd and poll(2): the median of several rounds of both.
  let ratio: Double
}
