internal import Netmap
internal import NetworkTestbed

/// Warm-up in seconds: long enough to use every slot and buffer.
private let warmUpSeconds = 0.05

/// How long packets may be in flight after the last one was sent, in seconds.
///
/// Ports ask the kernel for its drop counters every 10 ms.
private let drainSeconds = 0.03

/// Measures a case on new interfaces in a private network namespace, or on an interface of the machine.
///
/// - Parameters:
///   - measurement: The measurement.
///   - traffic: The backend and direction of its case.
///   - seconds: The duration.
///   - cpus: The CPU of the sender or generator, and the CPU of the receiver or forwarder.
///   - program: A program to measure in place of this package; nil for this package.
/// - Returns: The rate and, unless the case sends, the part of the offered packets that arrived.
/// - Throws: ``BenchError``, with `isUnavailable` set when rights are missing.
func measureTraffic(
  _ measurement: Measurement, _ traffic: Traffic, seconds: Double, cpus: (Int, Int),
  program: String?
) throws(BenchError) -> BenchResult {
  if let interface = measurement.interface {
    let testbed = try measuring { () throws(NetmapError) in
      try TrafficTestbed(traffic, interface: interface)
    }
    return try run(measurement, traffic, on: testbed, seconds, cpus, program)
  }
  let namespace = try measuring { () throws(NetmapError) in try PrivateNamespace.enter() }
  defer { namespace.leave() }
  let testbed = try measuring { () throws(NetmapError) in
    try TrafficTestbed(traffic, frameBytes: measurement.frameBytes)
  }
  return try run(measurement, traffic, on: testbed, seconds, cpus, program)
}

/// Measures this package or another program on a testbed.
private func run(
  _ measurement: Measurement, _ traffic: Traffic, on testbed: TrafficTestbed, _ seconds: Double,
  _ cpus: (Int, Int), _ program: String?
) throws(BenchError) -> BenchResult {
  let control = Control()
  let cpu = traffic.direction == .transmit ? cpus.0 : cpus.1
  // The application opens its interfaces before packets are sent to them.
  if let program {
    let application = try ProgramApplication(
      program, measurement, traffic, testbed.interfaces, on: cpu)
    try application.waitUntilReady()
    return try run(application, 0, measurement, testbed, seconds, cpus.0, control)
  }
  let application = try PortApplication(measurement, traffic, testbed, on: cpu, control)
  return try run(application, 1, measurement, testbed, seconds, cpus.0, control)
}

/// Measures an application that has `threads` threads waiting for the start.
private func run(
  _ application: consuming some MeasuredApplication, _ threads: Int, _ measurement: Measurement,
  _ testbed: TrafficTestbed, _ seconds: Double, _ cpu: Int, _ control: Control
) throws(BenchError) -> BenchResult {
  var application = application
  // If the source does not start, the application must not keep waiting.
  let source = try control.stoppingOnError { () throws(BenchError) in
    try testbed.startSource(on: cpu, measurement, control)
  }
  let window = Result { () throws(BenchError) -> (Sample, Sample) in
    control.start(threads + (source == nil ? 0 : 1), in: .warming)
    // One of the threads has failed; its error is thrown below.
    if control.isIn(.stopped) { throw BenchError("nothing was measured") }
    try measuring { () throws(NetmapError) in try testbed.waitForLink() }
    sleepThread(seconds: warmUpSeconds)
    try application.begin()
    control.advance(from: .warming, to: .measuring)
    let first = Sample(testbed)
    sleepThread(seconds: seconds)
    let last = Sample(testbed)
    try application.end()
    control.advance(from: .measuring, to: .draining)
    return (first, last)
  }
  if case .failure = window { control.enter(.stopped) }
  let sourceResult = Result { () throws(BenchError) in try source?.join() }
  if case .success = window { sleepThread(seconds: drainSeconds) }
  control.enter(.stopped)
  let outcome = Result { () throws(BenchError) in try application.finish() }
  try sourceResult.get()
  let report = try outcome.get()
  let (first, last) = try window.get()
  return try result(measurement, first, last, report, testbed)
}

/// The testbed's counters at an instant.
private struct Sample {
  let time = monotonicNanoseconds()
  let offered: UInt64?
  let delivered: UInt64?

  init(_ testbed: TrafficTestbed) {
    offered = testbed.offered
    delivered = testbed.delivered
  }
}

private func result(
  _ measurement: Measurement, _ first: Sample, _ last: Sample, _ report: ApplicationReport,
  _ testbed: TrafficTestbed
) throws(BenchError) -> BenchResult {
  let seconds = Double(last.time - first.time) / 1e9
  // With a sink, count the packets that it received; otherwise those that the application received.
  let result: BenchResult
  if let end = last.delivered, let start = first.delivered {
    let calls = report.systemCalls.map { calls in
      UInt64((Double(calls) * Double(end - start) / Double(max(report.packets, 1))).rounded())
    }
    result = BenchResult(
      measurement: measurement, packets: end - start, seconds: seconds, systemCalls: calls)
  } else {
    result = BenchResult(
      measurement: measurement, packets: report.packets, seconds: report.seconds,
      systemCalls: report.systemCalls)
  }
  guard result.packets > 0 else { throw testbed.nothingMoved }
  guard let end = last.offered, let start = first.offered else {
    return testbed.isOnMachine ? withCounts(result, report) : result
  }
  guard end > start else {
    throw BenchError("no packet was offered in the measured time; see --seconds", isTooShort: true)
  }
  let offeredMpps = Double(end - start) / seconds / 1e6
  var delivery = Delivery(
    offeredMpps: offeredMpps, ratio: result.millionsPerSecond / offeredMpps)
  if last.delivered == nil {
    delivery.losses = Delivery.Losses(
      offered: testbed.offered ?? 0, received: report.total,
      link: try measuring { () throws(NetmapError) in try testbed.lostInLink }, port: report.lost)
  }
  var complete = result
  complete.delivery = delivery
  return complete
}

/// Adds the counters of a measurement on an interface of the machine.
private func withCounts(_ result: BenchResult, _ report: ApplicationReport) -> BenchResult {
  var result = result
  result.machineInterface = MachineInterfaceCounts(
    lost: report.lost, meanFrameBytes: report.bytes.map { Double($0) / Double(report.total) })
  return result
}
