internal import Netmap

/// The duration of a measurement.
enum Extent {
  /// A number of seconds, after a short warm-up.
  case seconds(Double)
  /// A number of packets, from the first to the last.
  case packets(UInt64)

  var limit: UInt64 {
    switch self {
    case .seconds: .max
    case .packets(let count): count
    }
  }
}

/// Durations of the phases of a pipe measurement that are not measured, in seconds.
enum PipeTimes {
  /// Long enough for both ends to have touched every slot and buffer.
  static var warmUp: Double { 0.05 }
  /// How long the receiver may take after the sender has finished for the packets left in the ring.
  static var drain: Double { 5 }
}

/// Measures a pipe with a thread for each end.
func measurePipeTwoThreads<P: Payload>(
  _ measurement: Measurement, _ extent: Extent, cpus: (Int, Int), payload: P.Type
) throws(BenchError) -> BenchResult {
  let engine = try measuring { () throws(NetmapError) in try EmbeddedEngine() }
  let control = Control()
  let (batch, limit) = (measurement.batch, extent.limit)
  let receiver = try receivePipe(
    "netmap:bench}1", on: engine, measurement, extent, control, cpu: cpus.1, payload: P.self)
  let sender = try PinnedThread(on: cpus.0) { () throws(BenchError) -> EndReport in
    try control.stoppingOnError { () throws(BenchError) in
      try measuring { () throws(NetmapError) in
        let port = try NetmapPort("netmap:bench{1", engine: engine)
        var progress = Progress()
        control.waitForStart()
        try PipeLoops<P>.send(
          port, batch: batch, length: measurement.frameBytes, upTo: limit, control, &progress)
        return EndReport(port, progress, measured: 0, nanoseconds: 0, firstMismatch: nil, digest: 0)
      }
    }
  }

  let sent: EndReport
  switch extent {
  case .seconds(let seconds):
    control.start(2, in: .warming)
    sleepThread(seconds: PipeTimes.warmUp)
    control.advance(from: .warming, to: .measuring)
    sleepThread(seconds: seconds)
    control.enter(.stopped)
    sent = try sender.join()
  case .packets:
    control.start(2, in: .measuring)
    sent = try sender.join()
    var left = PipeTimes.drain
    while !control.isIn(.stopped) && left > 0 {
      sleepThread(seconds: 0.001)
      left -= 0.001
    }
    control.enter(.stopped)
  }
  let received = try receiver.join()
  try received.check(expecting: extent)
  // System calls of the whole run, since the counters do not distinguish phases.
  let calls = sent.systemCalls + received.systemCalls
  let share = Double(received.measured) / Double(max(received.progress.packets, 1))
  return BenchResult(
    measurement: measurement, packets: received.measured,
    seconds: Double(received.nanoseconds) / 1e9,
    systemCalls: UInt64((Double(calls) * share).rounded()))
}

/// Starts the receiving thread, which also measures.
func receivePipe<P: Payload>(
  _ name: String, on engine: any PortEngine, _ measurement: Measurement, _ extent: Extent,
  _ control: Control, cpu: Int, payload: P.Type
) throws(BenchError) -> PinnedThread<EndReport> {
  let (batch, limit) = (measurement.batch, extent.limit)
  return try PinnedThread(on: cpu) { () throws(BenchError) -> EndReport in
    try control.stoppingOnError { () throws(BenchError) in
      try measuring { () throws(NetmapError) in
        let port = try NetmapPort(name, engine: engine)
        var (progress, payload) = (Progress(), P())
        control.waitForStart()
        try PipeLoops.receive(
          port, batch: batch, upTo: limit, control, during: .warming, &progress, &payload)
        let (start, before) = (monotonicNanoseconds(), progress.packets)
        try PipeLoops.receive(
          port, batch: batch, upTo: limit, control, during: .measuring, &progress, &payload)
        let end = monotonicNanoseconds()
        control.enter(.stopped)
        return EndReport(
          port, progress, measured: progress.packets - before, nanoseconds: end - start,
          firstMismatch: payload.firstMismatch, digest: payload.digest)
      }
    }
  }
}

/// Measures a pipe with both ends on one thread.
func measurePipeOneThread<P: Payload>(
  _ measurement: Measurement, _ extent: Extent, cpu: Int, payload: P.Type
) throws(BenchError) -> BenchResult {
  let engine = try measuring { () throws(NetmapError) in try EmbeddedEngine() }
  let control = Control()
  let (batch, limit) = (measurement.batch, extent.limit)
  let length = measurement.frameBytes
  let worker = try PinnedThread(on: cpu) { () throws(BenchError) -> EndReport in
    try control.stoppingOnError { () throws(BenchError) in
      try measuring { () throws(NetmapError) in
        let first = try NetmapPort("netmap:bench{1", engine: engine)
        let second = try NetmapPort("netmap:bench}1", engine: engine)
        var (progress, payload) = (Progress(), P())
        control.waitForStart()
        try PipeLoops.sendAndReceive(
          first, second, batch: batch, length: length, upTo: limit, control, during: .warming,
          &progress, &payload)
        let (start, before) = (monotonicNanoseconds(), progress.packets)
        let callsBefore = first.statistics.systemCalls + second.statistics.systemCalls
        try PipeLoops.sendAndReceive(
          first, second, batch: batch, length: length, upTo: limit, control, during: .measuring,
          &progress, &payload)
        let end = monotonicNanoseconds()
        control.enter(.stopped)
        var report = EndReport(
          first, progress, measured: progress.packets - before, nanoseconds: end - start,
          firstMismatch: payload.firstMismatch, digest: payload.digest)
        report.systemCalls += second.statistics.systemCalls - callsBefore
        return report
      }
    }
  }
  switch extent {
  case .seconds(let seconds):
    control.start(1, in: .warming)
    sleepThread(seconds: PipeTimes.warmUp)
    control.advance(from: .warming, to: .measuring)
    sleepThread(seconds: seconds)
    control.enter(.stopped)
  case .packets:
    control.start(1, in: .measuring)
  }
  let report = try worker.join()
  try report.check(expecting: extent)
  return BenchResult(
    measurement: measurement, packets: report.measured, seconds: Double(report.nanoseconds) / 1e9,
    systemCalls: report.systemCalls)
}

/// The report of a thread at its end.
struct EndReport: Sendable {
  let progress: Progress
  let measured: UInt64
  let nanoseconds: UInt64
  let firstMismatch: UInt64?
  /// The payload's digest, kept so that the compiler does not remove the reads.
  let digest: UInt64
  var systemCalls: UInt64

  init(
    _ port: NetmapPort, _ progress: Progress, measured: UInt64, nanoseconds: UInt64,
    firstMismatch: UInt64?, digest: UInt64
  ) {
    self.progress = progress
    self.measured = measured
    self.nanoseconds = nanoseconds
    self.firstMismatch = firstMismatch
    self.digest = digest
    systemCalls = port.statistics.systemCalls + progress.yields
  }

  /// - Throws: ``BenchError`` when packets are missing or out of order.
  func check(expecting extent: Extent) throws(BenchError) {
    if let firstMismatch {
      throw BenchError(
        "packet \(firstMismatch) was not the expected one: a packet was lost or out of order")
    }
    if case .packets(let count) = extent, progress.packets != count {
      throw BenchError("\(count) packets were sent, but \(progress.packets) arrived")
    }
    guard measured > 0 else {
      throw BenchError.nothingArrived
    }
  }
}
