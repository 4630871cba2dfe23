internal import ArgumentParser
internal import Glibc
internal import Netmap
internal import NetmapCore

/// `netmap bench`: measures how fast rings move packets on this machine.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure how fast packets move through rings on this machine.",
    discussion: """
      Without --case, runs all cases.

      CASES
      \(Measurement.Case.overview)

      The cases on interfaces (xdp-..., packet-..., vale-nic) use veth pairs in a private network \
      namespace, which ends with the measurement. They need the rights to make a namespace and to load \
      BPF programs: run as root. Without these rights the cases are printed as not measured, which is a \
      failure only if --case selects them. copy and generic are modes of AF_XDP; packet is TPACKET_V3. \
      For the receiving cases the kernel generates the packets (BPF_PROG_TEST_RUN, live frames), as fast \
      as one CPU can generate and deliver them. For the forwarding cases a sender sends them through \
      AF_XDP. 'offered' is the rate of these packets, and 'delivered' the part that arrived.

      INTERFACES OF THE MACHINE
      --interface measures a network interface of this machine instead of a veth pair. It needs --case, \
      and measures sending (...-tx) and receiving (...-rx), on ring pair 0 of the interface. A sending \
      case sends UDP packets from 10.0.0.1 to 10.0.0.2 (Ethernet 02:00:00:00:00:01 to \
      02:00:00:00:00:02) as fast as it can, and counts the packets that the kernel accepted. A receiving \
      case counts the packets that arrive from outside: start a sender on the other end of the link \
      before it, such as pkt-gen. For an interface with several queues, direct the packets to queue 0, \
      for example with 'ethtool -L NAME combined 1'.
      While such a case runs, the host may not receive the packets of the interface, and a driver may \
      reset the link. So the command refuses an interface with a default route, unless --force is given. \
      Do not measure an interface that carries your remote login.

      PAYLOADS OF PIPES AND SWITCHES
        touched    the sender writes every byte of every frame, the receiver reads every byte
        untouched  only the length in each slot is written and read; the frames that a switch copies \
      have their addresses from the start
      Rates of untouched frames show the cost of the rings alone. No application has such rates.

      A batch is the maximum number of packets per sync. A flow is a pair of Ethernet addresses; with \
      --flows, consecutive packets on a switch take flows in turns. \
      For null, 'packets' counts syncs. For wakeup it counts round trips; a wake-up is half a round \
      trip, in nanoseconds, and ratio is the median of the pipe's wake-ups divided by that of eventfd \
      and poll. For pingpong and vale-latency, 'packets' counts round trips, and the system calls are \
      those of one process.

      The cases on a switch (vale-...) count received packets, except vale-unread. The switch drops \
      packets that the receiver has no room for; they do not count.

      COMPARISONS
      --compare measures pipes, switches and interfaces in turns with their peers: loops in C, and DPDK's \
      testpmd in the fastest of its configurations. It prints Markdown tables with rates, ratios and \
      the round trip of a cache line between the CPUs, or with --json one object per row. Run it as root, \
      on an otherwise idle machine. The peers are not installed: build them in this package's sources \
      with 'make setup-bench' and 'make bench-peers'. --quick takes two minutes.

      REPEATED RUNS
      --repeat runs all measurements once, then all of them again, so that a slow change of the \
      machine affects them alike. The table shows the median, minimum and maximum of each number, and its \
      spread: the interquartile range in percent of the median. Disturbed runs count like other runs.

      DISTURBED RUNS
      The table marks a run with * if, during the run, the hypervisor took \
      \(RunConditions.Limits.stolenPercent.fixed(0)) % or more of the time of the measuring CPUs, other \
      processes used \(RunConditions.Limits.otherPercent.fixed(0)) % or more of the time of all CPUs, or \
      the kernel preempted the measuring threads \
      \(RunConditions.Limits.preemptionsPerSecond.fixed(0)) times per second or more. The last condition does \
      not apply to interfaces, isolated-2p and vale-many, in which the measured work itself preempts \
      these threads. Before each run the command measures for 20 ms how long a cache line takes from one \
      measuring CPU to the other and back, because rates between two threads follow this time. It \
      also marks a run on two CPUs if this time and that before the first run differ by a factor of \
      \(RunConditions.Limits.cacheLineFactor.fixed(1)) or more.

      JSON
      --json prints one object per line. All objects have schema, case, backend (pipe, null, vale, \
      memory, xdp, packet), mode (copy, generic, zerocopy, tpacket-v3; for other cases the engine: \
      embedded or host), frameBytes, batch, direction (tx, rx, forward, both), measured, kernel, cpu, \
      cpus, build and version. If measured is false, reason replaces the numbers. If it is true, the \
      objects also have:
        all cases      mpps, nsPerPacket, syscallsPerPacket, packets, seconds
        pipes          payload
        switches       payload, flows
        wakeup         p50, p99, baselineP50, baselineP99 (wake-ups, ns), ratio
        vale-module    baselineNsPerPacket, ratio; also vale-module-each
        pingpong       p50, p99, p999, max (round trips, ns); also vale-latency
        forward, rx    offeredMpps, deliveredRatio
        rx             offered, received, lostInLink, lostInPort, lostElsewhere (packets of the whole run)
        --interface    interface, lostInPort; for rx meanFrameBytes, and frameBytes is 0
        conditions     loadAverage (before the run), stealPercent, otherCPUPercent, involuntarySwitches, \
      cacheLineNs
        runs           time (start of the first run, UTC), runs, disturbedRuns, disturbed (true if a run \
      was disturbed), disturbance (the reason)
      With --repeat these numbers are medians of the runs, and statistics has an object with median, \
      min, max and spreadPercent for each number.

      CSV
      --csv writes a header, and one line per run and number: \
      \(CSVOutput.columns.joined(separator: ", ")). metric is the number's key in JSON objects. With '-' \
      the lines go to standard output, and the command prints no table.

      EXAMPLES
        netmap bench --quick
        netmap bench --case pipe-2t --batch 256 --payload touched --seconds 5
        netmap bench --case pipe-2t --batch 256 --packets 1000000000 --verify
        netmap bench --case xdp-copy-tx --case packet-tx --frame-bytes 60 --batch 64
        netmap bench --case xdp-copy-forward --json
        netmap bench --case pipe-2p --case vale-2p --repeat 9 --csv runs.csv
        netmap bench --case vale-2p --flows 1 --flows 16 --payload touched
        netmap bench --compare
        netmap bench --case xdp-zerocopy-rx --interface eth1 --seconds 10
      """)

  @Option(
    name: .customLong("case"),
    help: ArgumentHelp("The case to measure; repeatable.", valueName: "case")
  )
  var cases: [Measurement.Case] = []

  @Option(
    name: .customLong("batch"),
    help:
      "Packets per sync, 1...1023; repeatable. (default: pipes 1, 32, 256; switches 1, 256)")
  var batches: [Int] = []

  @Option(
    name: .customLong("frame-bytes"),
    help: ArgumentHelp(
      "Bytes in a frame, 60...1514; repeatable. (default: 60, 1514; pipes 60)",
      valueName: "bytes"))
  var frameSizes: [Int] = []

  @Option(name: .customLong("payload"), help: "untouched or touched; repeatable. (default: both)")
  var payloads: [Measurement.PayloadKind] = []

  @Option(
    name: .customLong("flows"),
    help: ArgumentHelp(
      "Flows on a switch, 1...\(Measurement.mostFlows); repeatable. (default: 1)",
      valueName: "count"))
  var flows: [Int] = []

  @Option(help: ArgumentHelp("Seconds per measurement. (default: 1)", valueName: "s"))
  var seconds: Double?

  @Option(
    help: ArgumentHelp(
      "Measure this many packets instead, and fail if one is missing.", valueName: "count"))
  var packets: UInt64?

  @Flag(help: "Number the packets of pipes, and fail if one is missing or out of order.")
  var verify = false

  @Option(
    name: .customLong("repeat"),
    help: ArgumentHelp(
      "Run every measurement this many times, in turns, and print medians.", valueName: "count"))
  var repetitions = 1

  @Option(
    help: ArgumentHelp(
      "Write every number of every run to this file as CSV; '-' for standard output.",
      valueName: "file"))
  var csv: String?

  @Option(
    help: ArgumentHelp(
      "Measure this program on interfaces instead of netmap; see netmap(1).", valueName: "path"))
  var program: String?

  @Option(
    help: ArgumentHelp(
      "Measure this interface of the machine; the host may not receive its packets meanwhile.",
      valueName: "name"))
  var interface: String?

  @Flag(help: "Measure an --interface although it has a default route.")
  var force = false

  @Flag(help: "Compare this package with loops in C and with DPDK, in about 15 minutes.")
  var compare = false

  @Option(
    help: ArgumentHelp(
      "The folder with the peers of --compare. (default: Benchmarks/.build/release of the sources)",
      valueName: "folder"))
  var peers: String?

  @Flag(help: "Run all cases in about 30 s, with short measurements.")
  var quick = false

  @Flag(help: "Print the measurements and their duration, and measure nothing.")
  var plan = false

  @Option(
    help: ArgumentHelp("CPUs for the two threads. (default: the first two)", valueName: "a,b"))
  var cpus: String?

  @Flag(help: "Print one JSON object for each result.")
  var json = false

  @Flag(help: "Print the names of the cases.")
  var list = false

  func validate() throws {
    for batch in batches where !(1...1023).contains(batch) {
      throw ValidationError("--batch \(batch) is outside 1...1023, the usable slots of a ring")
    }
    for size in frameSizes where !(60...1514).contains(size) {
      throw ValidationError(
        "--frame-bytes \(size) is outside 60...1514, the sizes of Ethernet frames")
    }
    for count in flows where !(1...Measurement.mostFlows).contains(count) {
      throw ValidationError("--flows \(count) is outside 1...\(Measurement.mostFlows)")
    }
    if let seconds, !(0.01...3600).contains(seconds) {
      throw ValidationError("--seconds \(seconds.fixed(3)) is outside 0.01...3600")
    }
    if packets == 0 { throw ValidationError("--packets 0 measures nothing") }
    if packets != nil && seconds != nil {
      throw ValidationError("--packets and --seconds exclude each other")
    }
    if quick && (packets != nil || seconds != nil) {
      throw ValidationError("--quick sets the time itself: omit --packets and --seconds")
    }
    if compare, !cases.isEmpty || csv != nil || interface != nil || program != nil || plan || verify
    {
      throw ValidationError(
        "--compare has its own plan: only --peers, --quick and --json go with it")
    }
    if peers != nil && !compare { throw ValidationError("--peers belongs to --compare") }
    if !(1...10_000).contains(repetitions) {
      throw ValidationError("--repeat \(repetitions) is outside 1...10000")
    }
    if csv == "-" && json {
      throw ValidationError("--csv - and --json exclude each other: both write to standard output")
    }
    if plan && packets != nil {
      throw ValidationError("--plan cannot predict the duration of --packets")
    }
    if verify && !payloads.isEmpty {
      throw ValidationError("--verify has its own payload: omit --payload")
    }
    if verify && cases.contains(where: { !$0.isPipe }) {
      throw ValidationError("--verify is for pipes only")
    }
    if packets != nil, let name = cases.first(where: \.isTimed) {
      throw ValidationError("--packets: \(name.rawValue) is measured by time; see --seconds")
    }
    if program != nil, let name = cases.first(where: { !$0.takesProgram }) {
      throw ValidationError("--program cannot measure \(name.rawValue)")
    }
    try checkInterface()
    _ = try pinnedCPUs(Machine())
  }

  func run() throws {
    if compare {
      try Comparison.run(peers: peers, (quick ? ["--quick"] : []) + (json ? ["--json"] : []))
    }
    if list {
      for name in Measurement.Case.allCases { print(name.rawValue) }
      return
    }
    if plan { return printPlan(measurements) }
    let machine = Machine()
    if Machine.isDebugBuild {
      printError("netmap: this is a debug build: its figures are meaningless")
    }
    let chosen = try pinnedCPUs(machine)
    warnOfInterface()
    // A netmapd that the measurements start joins the veth of veth-2p. Other cases have one end of a veth, or name a backend.
    unsafe setenv(VethJoining.variable, "1", 0)
    var session: BenchSession
    do throws(BenchError) {
      session = try BenchSession(self, machine, cpus: chosen)
    } catch {
      printError("netmap: \(error)")
      throw ExitCode.failure
    }
    try session.run()
  }

  /// Measures; under --quick, measures again for a second if nothing happened in the short time.
  func measurePatiently(
    _ measurement: Measurement, _ cpus: (Int, Int)
  ) throws(BenchError) -> BenchResult {
    do throws(BenchError) {
      return try measure(measurement, seconds: duration(of: measurement), cpus)
    } catch {
      guard quick, error.isTooShort else { throw error }
    }
    return try measure(measurement, seconds: 1, cpus)
  }

  private func measure(
    _ measurement: Measurement, seconds time: Double, _ cpus: (Int, Int)
  ) throws(BenchError) -> BenchResult {
    if let traffic = measurement.name.traffic {
      return try measureTraffic(
        measurement, traffic, seconds: time, cpus: cpus, program: program)
    }
    if let shape = measurement.name.vale {
      return try measureVale(measurement, shape, seconds: time, cpus: cpus)
    }
    if measurement.name == .memoryCopy {
      return try measureMemoryCopy(measurement, seconds: time, cpu: cpus.0)
    }
    return try measureRings(
      measurement, packets.map { .packets($0) } ?? .seconds(time), cpus)
  }
}

extension Measurement.Case: ExpressibleByArgument {}
extension Measurement.PayloadKind: ExpressibleByArgument {
  // Only --verify selects `verified`.
  static var allValueStrings: [String] { ["untouched", "touched"] }

  init?(argument: String) {
    guard Self.allValueStrings.contains(argument) else { return nil }
    self.init(rawValue: argument)
  }
}

private func measureRings(
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
  case (.pipeTwoProcesses, .untouched), (.isolatedPipe, .untouched),
    (.vethTwoProcesses, .untouched), (.isolatedVeth, .untouched):
    try measurePipeTwoProcesses(measurement, extent, cpus: cpus, payload: UntouchedPayload.self)
  case (.pipeTwoProcesses, .touched), (.isolatedPipe, .touched),
    (.vethTwoProcesses, .touched), (.isolatedVeth, .touched):
    try measurePipeTwoProcesses(measurement, extent, cpus: cpus, payload: TouchedPayload.self)
  case (.pipeTwoProcesses, .verified), (.isolatedPipe, .verified),
    (.vethTwoProcesses, .verified), (.isolatedVeth, .verified):
    try measurePipeTwoProcesses(measurement, extent, cpus: cpus, payload: VerifiedPayload.self)
  case (.null, _):
    try measureNull(measurement, extent, cpu: cpus.0)
  case (.wakeup, _):
    try measureWakeup(measurement, extent, cpus: cpus)
  default:
    if measurement.name.roundTrip != nil {
      try measurePingPong(measurement, extent, cpus: cpus)
    } else {
      preconditionFailure("\(measurement.name.rawValue) is measured elsewhere")
    }
  }
}
