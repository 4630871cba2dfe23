internal import ArgumentParser
internal import Netmap

/// `netmap bench`: how fast rings move packets on this machine.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure how fast packets move through rings on this machine.",
    discussion: """
      Without --case everything is measured. Frames have \(testFrameBytes) bytes.

      CASES
      \(Measurement.Case.overview)

      PAYLOADS
        untouched  only the length in each slot is written and read
        touched    the sender writes every frame, the receiver sums up its bytes

      A batch is how many packets each sync moves at most. For null, 'packets' are syncs; for wakeup \
      they are round trips, and a wake-up is half a round trip, in nanoseconds. Ratio is the median of \
      the pipe's wake-ups over that of eventfd and poll.

      --json prints one object a line: case, backend (pipe or null), mode (embedded: the engine is in \
      this process), frameBytes, batch, direction (tx or both), mpps, nsPerPacket, \
      syscallsPerPacket, payload, packets, seconds; for wakeup p50, p99, baselineP50, baselineP99 \
      and ratio; and schema, kernel, cpu, cpus, build, version.

      EXAMPLES
        netmap bench --quick
        netmap bench --case pipe-2t --batch 256 --payload touched --seconds 5
        netmap bench --case pipe-2t --batch 256 --packets 1000000000 --verify
      """)

  @Option(
    name: .customLong("case"), help: ArgumentHelp("What to measure; repeatable.", valueName: "case")
  )
  var cases: [Measurement.Case] = []

  @Option(
    name: .customLong("batch"),
    help: "Packets for each sync, 1...1023; repeatable. (default: 1, 32, 256)")
  var batches: [Int] = []

  @Option(name: .customLong("payload"), help: "untouched or touched; repeatable. (default: both)")
  var payloads: [Measurement.PayloadKind] = []

  @Option(help: ArgumentHelp("Seconds for each measurement. (default: 1)", valueName: "s"))
  var seconds: Double?

  @Option(
    help: ArgumentHelp(
      "Measure this many packets instead, and fail if one is missing.", valueName: "count"))
  var packets: UInt64?

  @Flag(help: "Number the packets of pipes, and fail if one is missing or out of order.")
  var verify = false

  @Flag(help: "Everything in under 30 s.")
  var quick = false

  @Option(
    help: ArgumentHelp("CPUs for the two threads. (default: the first two)", valueName: "a,b"))
  var cpus: String?

  @Flag(help: "Print one JSON object for each result.")
  var json = false

  @Flag(help: "Print the names of the cases.")
  var list = false

  func validate() throws {
    for batch in batches where !(1...1023).contains(batch) {
      throw ValidationError("--batch \(batch) is outside 1...1023, the slots of a ring")
    }
    if let seconds, !(0.01...3600).contains(seconds) {
      throw ValidationError("--seconds \(seconds.fixed(3)) is outside 0.01...3600")
    }
    if packets == 0 { throw ValidationError("--packets 0 would measure nothing") }
    if packets != nil && seconds != nil {
      throw ValidationError("--packets and --seconds exclude each other")
    }
    if quick && (packets != nil || seconds != nil) {
      throw ValidationError("--quick sets the time itself: leave --packets and --seconds out")
    }
    if verify && !payloads.isEmpty {
      throw ValidationError("--verify has a payload of its own: leave --payload out")
    }
    if verify && cases.contains(where: { !$0.movesBatches }) {
      throw ValidationError("--verify is for pipe-1t and pipe-2t only")
    }
    _ = try pinnedCPUs(Machine())
  }

  func run() throws {
    if list {
      for name in Measurement.Case.allCases { print(name.rawValue) }
      return
    }
    let machine = Machine()
    if Machine.isDebugBuild {
      printError("netmap: this is a debug build: its figures say nothing about speed")
    }
    let chosen = try pinnedCPUs(machine)
    var report = Report(machine: machine, isJSON: json)
    let plan = measurements
    for (index, measurement) in plan.enumerated() {
      report.announce(measurement, index + 1, of: plan.count)
      do throws(BenchError) {
        report.add(try measure(measurement, extent, chosen))
      } catch {
        report.clearProgress()
        printError("netmap: \(measurement.name.rawValue): \(error)")
        throw ExitCode.failure
      }
    }
  }

  private var extent: Extent {
    if let packets { return .packets(packets) }
    return .seconds(seconds ?? (quick ? 0.5 : 1))
  }

  /// Everything that was asked for, each thing once, in the order of the cases.
  private var measurements: [Measurement] {
    let kinds: [Measurement.PayloadKind] =
      verify ? [.verified] : payloads.isEmpty ? [.untouched, .touched] : payloads
    let sizes = batches.isEmpty ? [1, 32, 256] : batches
    var plan: [Measurement] = []
    for name in Measurement.Case.allCases where cases.isEmpty || cases.contains(name) {
      if verify && !name.movesBatches { continue }
      for kind in name.movesBatches ? kinds : [.untouched] {
        for size in name.movesBatches ? sizes : [1] {
          let measurement = Measurement(name: name, batch: size, payload: kind)
          if !plan.contains(measurement) { plan.append(measurement) }
        }
      }
    }
    return plan
  }

  private func pinnedCPUs(_ machine: Machine) throws -> (Int, Int) {
    guard let cpus else {
      let first = machine.cpus.first ?? 0
      return (first, machine.cpus.dropFirst().first ?? first)
    }
    let parts = cpus.split(separator: ",", omittingEmptySubsequences: false)
    guard parts.count == 2, let first = Int(parts[0]), let second = Int(parts[1]) else {
      throw ValidationError("--cpus \(cpus) is not two numbers such as 0,1")
    }
    for cpu in [first, second] where !machine.cpus.contains(cpu) {
      throw ValidationError("--cpus: this process may not use CPU \(cpu)")
    }
    return (first, second)
  }
}

extension Measurement.Case: ExpressibleByArgument {}
extension Measurement.PayloadKind: ExpressibleByArgument {
  // `verified` is what --verify chooses; it is no choice of the user's.
  static var allValueStrings: [String] { ["untouched", "touched"] }

  init?(argument: String) {
    guard Self.allValueStrings.contains(argument) else { return nil }
    self.init(rawValue: argument)
  }
}

private func measure(
  _ measurement: Measurement, _ extent: Extent, _ cpus: (Int, Int)
) throws(BenchError) -> BenchResult {
  switch (measurement.name, measurement.payload) {
  case (.pipeOneThread, .untouched):
    try measurePipeOneThread(measurement, extent, cpu: cpus.0, payload: UntouchedPayload.self)
  case (.pipeOneThread, .touched):
    try measurePipeOneThread(measurement, extent, cpu: cpus.0, payload: TouchedPayload.self)
  case (.pipeOneThread, .verified):
    try measurePipeOneThread(measurement, extent, cpu: cpus.0, payload: VerifiedPayload.self)
  case (.pipeTwoThreads, .untouched):
    try measurePipeTwoThreads(measurement, extent, cpus: cpus, payload: UntouchedPayload.self)
  case (.pipeTwoThreads, .touched):
    try measurePipeTwoThreads(measurement, extent, cpus: cpus, payload: TouchedPayload.self)
  case (.pipeTwoThreads, .verified):
    try measurePipeTwoThreads(measurement, extent, cpus: cpus, payload: VerifiedPayload.self)
  case (.null, _):
    try measureNull(measurement, extent, cpu: cpus.0)
  case (.wakeup, _):
    try measureWakeup(measurement, extent, cpus: cpus)
  }
}
