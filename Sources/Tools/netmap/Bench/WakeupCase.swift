internal import CLinux
internal import Glibc
internal import Histogram
internal import Netmap

/// Measures how long it takes to wake a thread that sleeps in a wait on a pipe, and compares it
/// with eventfd(2) and poll(2).
///
/// Eventfd and poll(2) are the minimum that Linux offers. Both are measured in turns, in rounds of
/// the same length, so that other load on the machine affects both.
func measureWakeup(
  _ measurement: Measurement, _ extent: Extent, cpus: (Int, Int)
) throws(BenchError) -> BenchResult {
  let rounds: UInt64 = 10
  var pipe = LatencyHistogram()
  var eventfd = LatencyHistogram()
  var ratios: [Double] = []
  var (trips, systemCalls, seconds) = (UInt64(0), UInt64(0), 0.0)
  for round in 0..<rounds {
    let share: Extent =
      switch extent {
      case .seconds(let total): .seconds(total / Double(2 * rounds))
      case .packets(let count):
        // The first rounds take the remainder of the division.
        .packets(count / rounds + (round < count % rounds ? 1 : 0))
      }
    if case .packets(0) = share { continue }
    let engine = try measuring { () throws(NetmapError) in try EmbeddedEngine() }
    let first = try play(share, cpus) { (role) throws(BenchError) in
      try PipePlayer(engine, role)
    }
    let descriptors = try EventfdPair()
    let second = try play(share, cpus) { (role) throws(BenchError) in
      EventfdPlayer(descriptors, role)
    }
    ratios.append(first.times.median / second.times.median)
    pipe.add(first.times)
    eventfd.add(second.times)
    trips += first.trips
    seconds += first.seconds
    systemCalls += first.systemCalls
  }
  guard trips > 0 else {
    throw BenchError("no round trip completed; see --seconds", isTooShort: true)
  }
  var result = BenchResult(
    measurement: measurement, packets: trips, seconds: seconds, systemCalls: systemCalls)
  result.wakeup = WakeupTimes(
    pipe: pipe.percentiles, eventfd: eventfd.percentiles,
    ratio: ratios.sorted()[ratios.count / 2])
  return result
}

/// Wake-up times in nanoseconds: recorded as round trips, reported as half of a round trip.
private struct LatencyHistogram: Sendable {
  private var histogram = Histogram<UInt64>(
    highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: .three)

  mutating func record(roundTrip nanoseconds: UInt64) {
    _ = histogram.record(min(nanoseconds, 10_000_000_000))
  }

  mutating func add(_ other: Self) { histogram.add(other.histogram) }

  var median: Double { percentiles.p50 }

  var percentiles: WakeupTimes.Percentiles {
    WakeupTimes.Percentiles(
      p50: Double(histogram.valueAtPercentile(50)) / 2,
      p99: Double(histogram.valueAtPercentile(99)) / 2)
  }
}

/// One of two threads that wake each other in turn.
private protocol Player {
  /// Wakes the other player.
  mutating func serve() throws(BenchError)
  /// Sleeps until the other player has served.
  mutating func receive() throws(BenchError)
  /// System calls so far; 0 for a player that does not count them.
  var systemCalls: UInt64 { get }
}

private enum Role {
  case first, second
}

/// The result of one round of ping-pong.
private struct PingPong: Sendable {
  var times = LatencyHistogram()
  var trips: UInt64 = 0
  var seconds = 0.0
  var systemCalls: UInt64 = 0
}

/// Runs two players, each created on its own thread.
private func play<P: Player>(
  _ extent: Extent, _ cpus: (Int, Int),
  _ makePlayer: @escaping @Sendable (Role) throws(BenchError) -> P
) throws(BenchError) -> PingPong {
  let control = Control()
  let limit = extent.limit
  let time: UInt64 = if case .seconds(let seconds) = extent { UInt64(seconds * 1e9) } else { .max }
  let second = try PinnedThread(on: cpus.1) { () throws(BenchError) -> UInt64 in
    try control.stoppingOnError { () throws(BenchError) in
      var player = try makePlayer(.second)
      control.waitForStart()
      while control.isIn(.measuring) {
        try player.receive()
        try player.serve()
      }
      return player.systemCalls
    }
  }
  let first = try PinnedThread(on: cpus.0) { () throws(BenchError) -> PingPong in
    try control.stoppingOnError { () throws(BenchError) in
      var player = try makePlayer(.first)
      control.waitForStart()
      var result = PingPong()
      let start = monotonicNanoseconds()
      var now = start
      // Only this player decides when to stop: the other player would be asleep, or would leave
      // this one asleep.
      while result.trips < limit && now - start < time && control.isIn(.measuring) {
        try player.serve()
        try player.receive()
        let end = monotonicNanoseconds()
        result.times.record(roundTrip: end - now)
        result.trips += 1
        now = end
      }
      // The other player sleeps or is about to sleep. It sees the end of the phase once it is
      // woken.
      control.enter(.stopped)
      result.seconds = Double(now - start) / 1e9
      result.systemCalls = player.systemCalls
      try player.serve()
      return result
    }
  }
  control.start(2, in: .measuring)
  var result = try first.join()
  result.systemCalls += try second.join()
  return result
}

/// Plays over a pipe: a packet wakes the other player.
private struct PipePlayer: Player {
  private let port: NetmapPort

  init(_ engine: EmbeddedEngine, _ role: Role) throws(BenchError) {
    port = try measuring { () throws(NetmapError) in
      try NetmapPort(role == .first ? "netmap:bench{1" : "netmap:bench}1", engine: engine)
    }
  }

  mutating func serve() throws(BenchError) {
    var ring = port.transmitRing(0)
    _ = ring.append(length: testFrameBytes)
    try measuring { () throws(NetmapError) in try port.sync(.transmit) }
  }

  mutating func receive() throws(BenchError) {
    try measuring { () throws(NetmapError) in _ = try port.wait(for: .receive) }
    var ring = port.receiveRing(0)
    ring.skip()
  }

  var systemCalls: UInt64 { port.statistics.systemCalls }
}

/// Two event counters, one for each player to sleep on.
private final class EventfdPair: Sendable {
  let first: CInt
  let second: CInt

  init() throws(BenchError) {
    first = eventfd(0, CInt(EFD_CLOEXEC))
    second = eventfd(0, CInt(EFD_CLOEXEC))
    guard first >= 0, second >= 0 else { throw BenchError("eventfd: error \(errno)") }
  }

  deinit {
    close(first)
    close(second)
  }
}

/// Plays with plain descriptors: write(2) wakes, poll(2) sleeps, read(2) drains.
private struct EventfdPlayer: Player {
  private let pair: EventfdPair
  private let own: CInt
  private let other: CInt

  init(_ pair: EventfdPair, _ role: Role) {
    self.pair = pair
    own = role == .first ? pair.first : pair.second
    other = role == .first ? pair.second : pair.first
  }

  mutating func serve() throws(BenchError) {
    var one: UInt64 = 1
    guard unsafe write(other, &one, 8) == 8 else { throw BenchError("write: error \(errno)") }
  }

  mutating func receive() throws(BenchError) {
    var descriptor = pollfd(fd: own, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&descriptor, 1, -1) == 1 else { throw BenchError("poll: error \(errno)") }
    var count: UInt64 = 0
    guard unsafe read(own, &count, 8) == 8 else { throw BenchError("read: error \(errno)") }
  }

  var systemCalls: UInt64 { 0 }
}
