internal import ArgumentParser
internal import Glibc
internal import Netmap
internal import NetmapCore
internal import NetworkTestbed

/// Measures a pipe whose sender is another process.
///
/// The receiver is a thread of this process, as in ``measurePipeTwoThreads(_:_:cpus:payload:)``. In the case
/// ``Measurement/Case/isolatedPipe`` the sender's end is isolated.
func measurePipeTwoProcesses<P: Payload>(
  _ measurement: Measurement, _ extent: Extent, cpus: (Int, Int), payload: P.Type
) throws(BenchError) -> BenchResult {
  guard measurement.name.isVeth else {
    let pipe = "netmap:bench.\(getpid())"
    return try measureTwoProcesses(
      measurement, extent, cpus: cpus, from: "\(pipe){1", to: "\(pipe)}1", payload: P.self)
  }
  let namespace = try measuring { () throws(NetmapError) in try PrivateNamespace.enter() }
  defer { namespace.leave() }
  let pair = try measuring { () throws(NetmapError) in try VethPair("bench0", "bench1") }
  let result = try measureTwoProcesses(
    measurement, extent, cpus: cpus, from: "netmap:bench0", to: "netmap:bench1", payload: P.self)
  let packets = try measuring { () throws(NetmapError) in try pair.first.sentPackets() }
  // Those that the sender sends after the receiver has closed its port do: a ring's worth, many for a short measurement.
  guard packets < result.packets / 4 else {
    throw BenchError(
      "\(packets) packets went through the kernel: netmapd runs without \(VethJoining.option)",
      isUnavailable: true)
  }
  return result
}

/// Measures two ports that are connected, the sender's in another process.
private func measureTwoProcesses<P: Payload>(
  _ measurement: Measurement, _ extent: Extent, cpus: (Int, Int), from source: String,
  to target: String, payload: P.Type
) throws(BenchError) -> BenchResult {
  let control = Control()
  let isIsolated = measurement.name == .isolatedPipe || measurement.name == .isolatedVeth
  do throws(NetmapError) {
    // Also starts the daemon, before the measurement.
    _ = try NetmapPort(target, engine: HostEngine.shared)
  } catch {
    throw BenchError("\(error)", isUnavailable: true)
  }
  let receiver = try receivePipe(
    target, on: HostEngine.shared, measurement, extent, control, cpu: cpus.1, payload: P.self)
  let sender: ChildProcess
  do throws(BenchError) {
    sender = try ChildProcess([
      "/proc/self/exe", "bench-sender", source + (isIsolated ? "/i" : ""), "--batch",
      "\(measurement.batch)",
      "--frame-bytes", "\(measurement.frameBytes)", "--payload", measurement.payload.rawValue,
      "--packets", "\(extent.limit)", "--cpu", "\(cpus.0)",
    ])
    guard try sender.readLine(within: 30) == "ready" else {
      throw BenchError("the sending process could not open its port")
    }
    switch extent {
    case .seconds(let seconds):
      control.start(1, in: .warming)
      try sender.write("go\n")
      sleepThread(seconds: PipeTimes.warmUp)
      control.advance(from: .warming, to: .measuring)
      sleepThread(seconds: seconds)
    case .packets:
      control.start(1, in: .measuring)
      try sender.write("go\n")
      guard try sender.readLine(within: Int32.max / 1000) == "sent" else {
        throw BenchError("the sending process failed")
      }
      var left = PipeTimes.drain
      while !control.isIn(.stopped) && left > 0 {
        sleepThread(seconds: 0.001)
        left -= 0.001
      }
    }
    control.enter(.stopped)
  } catch {
    control.enter(.stopped)
    // If the receiver failed, its error explains more.
    _ = try receiver.join()
    throw error
  }
  let received = try receiver.join()
  sender.end()
  try received.check(expecting: extent)
  let share = Double(received.measured) / Double(max(received.progress.packets, 1))
  return BenchResult(
    measurement: measurement, packets: received.measured,
    seconds: Double(received.nanoseconds) / 1e9,
    systemCalls: UInt64((Double(received.systemCalls) * share).rounded()))
}

/// The sending process of `pipe-2p` and `isolated-2p`; the bench starts it, users do not.
struct BenchSender: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench-sender", abstract: "The sending process of a measurement.",
    shouldDisplay: false)

  @Argument var port: String
  @Option var batch: Int
  @Option(name: .customLong("frame-bytes")) var frameBytes: Int
  @Option var payload: String
  @Option var packets: UInt64
  @Option var cpu: Int

  func run() throws {
    do throws(BenchError) {
      switch Measurement.PayloadKind(rawValue: payload) {
      case .touched: try send(TouchedPayload.self)
      case .verified: try send(VerifiedPayload.self)
      default: try send(UntouchedPayload.self)
      }
    } catch {
      printError("netmap bench: \(error)")
      throw ExitCode.failure
    }
  }

  private func send<P: Payload>(_ payload: P.Type) throws(BenchError) {
    let control = Control()
    let sender = try PinnedThread(on: cpu) {
      [port, batch, frameBytes, packets] () throws(BenchError) -> Void in
      try control.stoppingOnError { () throws(BenchError) in
        try measuring { () throws(NetmapError) in
          let port = try NetmapPort(port, engine: HostEngine.shared)
          var progress = Progress()
          control.waitForStart()
          try PipeLoops<P>.send(
            port, batch: batch, length: frameBytes, upTo: packets, control, &progress)
          // Packets in the ring stay available to the receiver as long as it has its end open.
          say("sent")
        }
      }
    }
    control.start(1, in: .starting)
    guard !control.isIn(.stopped) else { return try sender.join() }
    say("ready")
    // The first line of standard input starts the sender, the end of the input stops it.
    _ = readLine()
    control.enter(.measuring)
    _ = readLine()
    control.enter(.stopped)
    try sender.join()
  }

  private func say(_ line: String) {
    print(line)
    fflush(nil)
  }
}
