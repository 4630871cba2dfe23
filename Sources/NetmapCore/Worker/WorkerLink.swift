/// An isolated port as the worker sees it: the two ends between which it carries packets.
///
/// The outside is the worker's end of a pipe, in a region that the isolated process has for itself.
/// The worker trusts nothing in that region. The inside is the port that the process requested,
/// which the worker has opened.
package final class WorkerLink: WorkerTask {
  private let inside: MappedPort
  private let outside: MappedPort
  /// The doorbells of the processes that have the port open; nil where all of them are this
  /// process's own.
  private let bells: DoorbellTable?
  private var members: [PeerBell] = []
  private var membersSeen: UInt64 = 0
  /// Called once, on the worker's thread, after the last use of both ends.
  private let end: @Sendable () -> Void

  /// How long the worker delivers the remaining packets of a closed port while nothing moves,
  /// nanoseconds.
  private static let lingerTime: UInt64 = 1_000_000_000
  /// How long it does so at most, nanoseconds, even if packets move: a process can keep sending.
  package static let longestEnd: UInt64 = 2_000_000_000

  /// When the port was closed, monotonic nanoseconds; nil while it is open.
  private var closedAt: UInt64?
  /// When packets last moved after that, monotonic nanoseconds.
  private var lastProgress: UInt64 = 0
  /// The next ring in each direction: no port keeps the others waiting, however many rings it has.
  private var (outwardRound, inwardRound) = (RingRound(), RingRound())
  private var alarms = FalseAlarms()

  package init(
    inside: MappedPort, outside: MappedPort, bells: DoorbellTable? = nil,
    end: @escaping @Sendable () -> Void
  ) {
    self.inside = inside
    self.outside = outside
    self.bells = bells
    self.end = end
  }

  package func turn() -> Int {
    if let members = bells?.takeMembers(since: &membersSeen) { self.members = members }
    var moved = 0
    var budget = TurnBudget()
    outwardRound.go(over: min(outside.receiveCount, inside.transmitCount), &budget) {
      (index, budget) in
      let (source, target) = unsafe (outside.receive(index), inside.transmit(index))
      moved += unsafe ValidatingCopy(
        source: source, target: target, sourceCounts: source.peerKRing, targetCounts: target.kring
      ).move(&budget)
    }
    if closedAt == nil {
      budget = TurnBudget()
      inwardRound.go(over: min(inside.receiveCount, outside.transmitCount), &budget) {
        (index, budget) in
        let (source, target) = unsafe (inside.receive(index), outside.transmit(index))
        moved += unsafe ValidatingCopy(
          source: source, target: target, sourceCounts: source.kring, targetCounts: target.peerKRing
        ).move(&budget)
      }
    }
    if moved > 0 {
      alarms.forget()
      for bell in members where bell.throttle.hasDoubts { bell.throttle.forget() }
      if closedAt != nil { lastProgress = monotonicNanoseconds() }
    }
    return moved
  }

  /// What the worker sleeps for in each direction: packets or, if packets already wait, room for
  /// them.
  var items: [Sleeper.Item] {
    var result: [Sleeper.Item] = []
    for (source, target) in [(outside, inside), (inside, outside)] {
      if source === inside, closedAt != nil { continue }
      let isWaiting = (0..<source.receiveCount).contains { index in
        let ring = unsafe source.receive(index).ring
        return unsafe ring.head != ring.tail
      }
      result.append(
        isWaiting
          ? Sleeper.Item(port: target, wanted: .transmit)
          : Sleeper.Item(port: source, wanted: .receive))
    }
    return result
  }

  func noteAlarm(at now: UInt64) { alarms.note(at: now) }
  var pausesUntil: UInt64 { alarms.pausesUntil }
  func nextLook() -> UInt64? { nil }

  func close() {
    guard closedAt == nil else { return }
    closedAt = monotonicNanoseconds()
  }

  var isClosing: Bool { closedAt != nil }

  /// Whether a closed port has nothing left to deliver, or its remaining time is over.
  func isDone(at now: UInt64) -> Bool {
    guard let closedAt else { return false }
    if now >= closedAt + Self.longestEnd { return true }
    if now >= max(closedAt, lastProgress) + Self.lingerTime { return true }
    return !(0..<outside.receiveCount).contains { index in
      let ring = unsafe outside.receive(index).ring
      return unsafe ring.head != ring.tail
    }
  }

  func finish() { end() }
}
