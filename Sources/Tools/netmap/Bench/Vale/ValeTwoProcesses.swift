internal import ArgumentParser
internal import Glibc
internal import Netmap

/// Measures a switch of netmapd.
///
/// The sender is another process; the receiver is a thread of this process.
func measureValeTwoProcesses(
  _ measurement: Measurement, _ shape: ValeShape, seconds: Double, cpus: (Int, Int)
) throws(BenchError) -> BenchResult {
  let control = Control()
  // All processes of the host share their switches, so the name has this process's ID.
  let prefix = "vale\(getpid()):"
  var receiving = shape
  receiving.senders = 0
  let testbed: ValeTestbed
  do throws(NetmapError) {
    // Also starts the daemon, before the measurement.
    testbed = try ValeTestbed(receiving, measurement, on: HostEngine.shared, prefix: prefix)
  } catch {
    throw BenchError("\(error)", isUnavailable: true)
  }
  let sender = try ChildProcess([
    "/proc/self/exe", "bench-vale-sender", prefix, "--batch", "\(measurement.batch)",
    "--frame-bytes", "\(measurement.frameBytes)", "--flows", "\(measurement.flows)", "--payload",
    measurement.payload.rawValue, "--cpu", "\(cpus.0)",
  ])
  guard try sender.readLine(within: 30) == "ready" else {
    throw BenchError("the sending process could not open its port")
  }
  try measuring { () throws(NetmapError) in try testbed.announceReceivers() }
  let receiver = try worker(on: cpus.1, control) { () throws(NetmapError) in
    try testbed.receive(control)
  }
  control.start(1, in: .warming)
  try sender.write("go\n")
  sleepThread(seconds: PipeTimes.warmUp)
  control.advance(from: .warming, to: .measuring)
  sleepThread(seconds: seconds)
  control.enter(.stopped)
  let report = try receiver.join()
  sender.end()
  return try valeResult(measurement, [report])
}

/// The sending process of `vale-2p`; the bench starts it, users do not.
struct ValeSender: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench-vale-sender", abstract: "The sending process of a measurement.",
    shouldDisplay: false)

  @Argument var prefix: String
  @Option var batch: Int
  @Option(name: .customLong("frame-bytes")) var frameBytes: Int
  @Option var flows: Int
  @Option var payload: Measurement.PayloadKind
  @Option var cpu: Int

  func run() throws {
    do throws(BenchError) {
      try send()
    } catch {
      printError("netmap bench: \(error)")
      throw ExitCode.failure
    }
  }

  private func send() throws(BenchError) {
    let control = Control()
    var shape = ValeShape()
    shape.receivers = 0
    shape.ports = 1
    let measurement = Measurement(
      name: .valeTwoProcesses, batch: batch, payload: payload, frameBytes: frameBytes, flows: flows)
    let testbed = try measuring { [shape] () throws(NetmapError) in
      try ValeTestbed(shape, measurement, on: HostEngine.shared, prefix: prefix)
    }
    let sender = try worker(on: cpu, control) { () throws(NetmapError) in
      try testbed.send(from: 0, control)
    }
    print("ready")
    fflush(nil)
    // The first line of standard input starts the sender, the end of the input stops it.
    _ = readLine()
    control.start(1, in: .measuring)
    _ = readLine()
    control.enter(.stopped)
    _ = try sender.join()
  }
}
