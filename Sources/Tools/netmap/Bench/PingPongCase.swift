internal import ArgumentParser
internal import Glibc
internal import Histogram
internal import Netmap

/// Percentiles of round trip times, in nanoseconds.
struct RoundTripTimes {
  let p50: UInt64
  let p99: UInt64
  let p999: UInt64
  let max: UInt64
}

/// Measures round trips of single packets between two processes, through netmapd.
///
/// This process sends a packet, the other process returns it, and then this process sends the next packet.
///
/// - Parameters:
///   - measurement: The measurement.
///   - extent: Its duration, or its number of round trips.
///   - cpus: The CPUs of the two processes.
/// - Returns: The round trip times.
/// - Throws: ``BenchError`` when the other process fails, or there is no daemon.
func measurePingPong(
  _ measurement: Measurement, _ extent: Extent, cpus: (Int, Int)
) throws(BenchError) -> BenchResult {
  let isOnSwitch = measurement.name.roundTrip?.isOnSwitch ?? false
  let sleeps = measurement.name.roundTrip?.sleeps ?? false
  let names =
    isOnSwitch
    ? ("vale\(getpid()):ping", "vale\(getpid()):pong")
    : ("netmap:bench.\(getpid()){1", "netmap:bench.\(getpid())}1")
  let port: NetmapPort
  do throws(NetmapError) {
    port = try NetmapPort(names.0, engine: HostEngine.shared)
  } catch {
    throw BenchError("\(error)", isUnavailable: true)
  }
  port.close()
  let child = try ChildProcess([
    "/proc/self/exe", "bench-ponger", names.1, "--cpu", "\(cpus.1)", "--waiting",
    sleeps ? "sleep" : "spin",
  ])
  guard try child.readLine(within: 30) == "ready" else {
    throw BenchError("the answering process could not open its port")
  }
  let pinger = try PinnedThread(on: cpus.0) { () throws(BenchError) -> BenchResult in
    var player = try PingPongEnd(names.0, station: 0, sleeps: sleeps)
    // The first packets run with cold caches.
    _ = try player.play(.packets(min(1000, extent.limit)), measurement)
    return try player.play(extent, measurement)
  }
  let result = try pinger.join()
  child.end()
  return result
}

/// One end of the pipe, or one of the two stations on the switch.
private struct PingPongEnd: ~Copyable {
  private let port: NetmapPort
  private let station: Int
  private let isOnSwitch: Bool
  private let sleeps: Bool

  init(_ name: String, station: Int, sleeps: Bool) throws(BenchError) {
    port = try measuring { () throws(NetmapError) in try NetmapPort(name, engine: HostEngine.shared)
    }
    self.station = station
    isOnSwitch = name.hasPrefix("vale")
    self.sleeps = sleeps
  }

  /// The longest wait for a packet before the measurement fails, in nanoseconds.
  private static var patience: UInt64 { 10_000_000_000 }

  mutating func play(
    _ extent: Extent, _ measurement: Measurement
  ) throws(BenchError) -> BenchResult {
    var times = Histogram<UInt64>(
      highestTrackableValue: 20_000_000_000, numberOfSignificantValueDigits: .three)
    let time: UInt64 =
      if case .seconds(let seconds) = extent { UInt64(seconds * 1e9) } else { .max }
    let callsBefore = port.statistics.systemCalls
    let start = monotonicNanoseconds()
    var (now, trips) = (start, UInt64(0))
    while trips < extent.limit && now - start < time {
      try send()
      while try !receive(within: .seconds(1)) {
        guard monotonicNanoseconds() - now < Self.patience else {
          throw BenchError("the answering process does not answer")
        }
      }
      let end = monotonicNanoseconds()
      _ = times.record(end - now)
      now = end
      trips += 1
    }
    guard trips > 0 else {
      throw BenchError("no round trip completed; see --seconds", isTooShort: true)
    }
    var result = BenchResult(
      measurement: measurement, packets: trips, seconds: Double(now - start) / 1e9,
      systemCalls: port.statistics.systemCalls - callsBefore)
    result.roundTrips = RoundTripTimes(
      p50: times.valueAtPercentile(50), p99: times.valueAtPercentile(99),
      p999: times.valueAtPercentile(99.9), max: times.max)
    return result
  }

  func send() throws(BenchError) {
    var ring = port.transmitRing(0)
    let (own, other) = (ValeFrame.address(station), ValeFrame.address(1 - station))
    let isSent =
      isOnSwitch
      ? ring.append(length: testFrameBytes) { ValeFrame.write(other, own, to: &$0) }
      : ring.append(length: testFrameBytes)
    guard isSent else { throw BenchError("the ring is full") }
    try measuring { () throws(NetmapError) in try port.sync(.transmit) }
  }

  /// Takes one packet.
  ///
  /// - Returns: False when no packet arrived in time; when spinning, within 4096 syncs.
  func receive(within time: Duration) throws(BenchError) -> Bool {
    if sleeps {
      return try measuring { () throws(NetmapError) in
        guard try port.wait(for: .receive, timeout: time) == .receive else { return false }
        return take()
      }
    }
    for _ in 0..<4096 {
      try measuring { () throws(NetmapError) in try port.sync(.receive) }
      if take() { return true }
    }
    // If both processes share one CPU, the other process can only run now.
    sched_yield()
    return false
  }

  private func take() -> Bool {
    var ring = port.receiveRing(0)
    return ring.next() != nil
  }
}

/// The process that returns the packets; the bench starts it, users do not.
struct BenchPonger: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench-ponger", abstract: "The answering process of a measurement.",
    shouldDisplay: false)

  @Argument var port: String
  @Option var cpu: Int
  @Option var waiting: String

  func run() throws {
    do throws(BenchError) {
      let control = Control()
      let thread = try PinnedThread(on: cpu) { [port, waiting] () throws(BenchError) -> Void in
        try control.stoppingOnError { () throws(BenchError) in
          let end = try PingPongEnd(port, station: 1, sleeps: waiting == "sleep")
          control.waitForStart()
          while !control.isIn(.stopped) {
            if try end.receive(within: .milliseconds(100)) { try end.send() }
          }
        }
      }
      control.start(1, in: .measuring)
      if !control.isIn(.stopped) {
        print("ready")
        fflush(nil)
        // The end of standard input ends the measurement.
        while readLine() != nil {}
        control.enter(.stopped)
      }
      try thread.join()
    } catch {
      printError("netmap bench: \(error)")
      throw ExitCode.failure
    }
  }
}
