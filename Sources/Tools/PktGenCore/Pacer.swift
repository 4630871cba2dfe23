internal import ToolSupport

/// The size of batches and their rate, from `-b` and `-R`.
package struct BurstPlan: Hashable, Sendable {
  /// Packets in a batch.
  package let burst: Int
  /// Packets per second; 0 for no limit.
  package let rate: Int

  /// - Parameters:
  ///   - burst: The requested number of packets in a batch. With a rate, the plan reduces it so
  ///     that there are about 300 batches per second.
  ///   - rate: Packets per second; 0 for no limit.
  package init(burst: Int, rate: Int) {
    self.rate = min(max(rate, 0), 1 << 32)
    self.burst = self.rate == 0 ? burst : max(1, min(burst, self.rate / 300))
  }

  /// Nanoseconds between two batches; 0 without a limit.
  package var period: UInt64 { rate == 0 ? 0 : time(ofPacket: UInt64(burst)) }

  /// When packet `number` is due, in nanoseconds since the start; rounding errors do not
  /// accumulate.
  package func time(ofPacket number: UInt64) -> UInt64 {
    let rate = UInt64(rate)
    return number / rate * 1_000_000_000 + number % rate * 1_000_000_000 / rate
  }

  /// The plan as a message: `Sending N packets every  S.nnnnnnnnn s`.
  package var text: String {
    let fraction = TextFormat.zeroPadded(period % 1_000_000_000, 9)
    return "Sending \(burst) packets every  \(period / 1_000_000_000).\(fraction) s"
  }
}

/// Tells a sender when its next batch is due.
struct Pacer {
  private let plan: BurstPlan
  private let stop: StopRequest
  private var start: UInt64 = 0
  private var due: UInt64 = 0
  /// Packets left in the current batch.
  private var left = 0

  init(_ plan: BurstPlan, stop: StopRequest) {
    self.plan = plan
    self.stop = stop
  }

  var isPaced: Bool { plan.rate > 0 }

  /// Waits for the start.
  ///
  /// With a rate and `aligned`, that is a whole second, one to two seconds from now.
  ///
  /// - Returns: The start, in monotonic nanoseconds.
  mutating func begin(aligned: Bool) -> UInt64 {
    start = Clock.monotonic()
    if isPaced && aligned {
      let second: UInt64 = 1_000_000_000
      let wall = Clock.wall()
      start += (wall / second + 2) * second - wall
      waitUntil(start)
    }
    return start
  }

  /// Number of packets that may be sent now.
  ///
  /// Waits for the next batch when the last one has been sent.
  mutating func budget() -> Int {
    guard isPaced else { return plan.burst }
    if left <= 0 {
      left = plan.burst
      due += UInt64(plan.burst)
      waitUntil(start + plan.time(ofPacket: due))
    }
    return left
  }

  /// Records that packets have been sent.
  mutating func spend(_ count: Int) {
    if isPaced { left -= count }
  }

  /// Sleeps while more than a millisecond is left, then spins.
  private func waitUntil(_ time: UInt64) {
    while !stop.isRequested {
      let now = Clock.monotonic()
      if now >= time { return }
      let rest = time - now
      if rest > 1_000_000 { Clock.sleep(nanoseconds: min(rest - 1_000_000, 50_000_000)) }
    }
  }
}
