internal import Synchronization
internal import ToolSupport

/// The packets, bytes and batches that a thread has moved.
package struct Tally: Hashable, Sendable {
  package var packets: UInt64 = 0
  package var bytes: UInt64 = 0
  /// Number of batches.
  package var events: UInt64 = 0

  package init(packets: UInt64 = 0, bytes: UInt64 = 0, events: UInt64 = 0) {
    self.packets = packets
    self.bytes = bytes
    self.events = events
  }

  static func += (sum: inout Tally, other: Tally) {
    sum.packets += other.packets
    sum.bytes += other.bytes
    sum.events += other.events
  }

  static func - (now: Tally, before: Tally) -> Tally {
    Tally(
      packets: now.packets - before.packets, bytes: now.bytes - before.bytes,
      events: now.events - before.events)
  }
}

/// A thread's results for the reporting thread, updated once per batch.
final class WorkerCounters: Sendable {
  /// The result of ``takeSmallestSpace()`` without a measurement.
  static let unmeasured: UInt64 = 99999

  private let packets = Atomic<UInt64>(0)
  private let bytes = Atomic<UInt64>(0)
  private let events = Atomic<UInt64>(0)
  private let smallestSpace = Atomic<UInt64>(unmeasured)
  private let startTime = Atomic<UInt64>(0)
  private let endTime = Atomic<UInt64>(0)
  private let state = Atomic<Int>(0)
  private let awaitedState = Atomic<UInt8>(0)
  /// Additional results of a mode, set at its end.
  let findings = Mutex<Findings>(.none)

  var tally: Tally {
    Tally(
      packets: packets.load(ordering: .relaxed), bytes: bytes.load(ordering: .relaxed),
      events: events.load(ordering: .relaxed))
  }

  func publish(_ tally: Tally) {
    packets.store(tally.packets, ordering: .relaxed)
    bytes.store(tally.bytes, ordering: .relaxed)
    events.store(tally.events, ordering: .relaxed)
  }

  func note(space: UInt64) {
    if space < smallestSpace.load(ordering: .relaxed) {
      smallestSpace.store(space, ordering: .relaxed)
    }
  }

  /// Returns the smallest space since the last call.
  func takeSmallestSpace() -> UInt64 {
    smallestSpace.exchange(Self.unmeasured, ordering: .relaxed)
  }

  /// What the thread waits for; set when a wait begins, and reset when the thread goes on.
  var awaited: Awaited {
    get { Awaited(rawValue: awaitedState.load(ordering: .relaxed)) ?? .nothing }
    set { awaitedState.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// When traffic began, in monotonic nanoseconds; 0 before.
  var start: UInt64 { startTime.load(ordering: .relaxed) }
  var end: UInt64 { endTime.load(ordering: .relaxed) }

  func begin(at time: UInt64 = Clock.monotonic()) {
    startTime.store(time, ordering: .relaxed)
  }

  /// Marks the end of a thread that has completed its work.
  func complete(at time: UInt64 = Clock.monotonic()) {
    endTime.store(max(time, start), ordering: .relaxed)
    state.store(1, ordering: .releasing)
  }

  func fail() {
    endTime.store(Clock.monotonic(), ordering: .relaxed)
    state.store(2, ordering: .releasing)
  }

  var hasEnded: Bool { state.load(ordering: .acquiring) != 0 }
  var hasFailed: Bool { state.load(ordering: .acquiring) == 2 }
}

/// Additional results of some modes, for the final JSON object.
enum Findings: Hashable, Sendable {
  case none
  case roundTrips(RoundTripSummary)
  case sequence(SequenceSummary)
}
