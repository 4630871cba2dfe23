internal import Synchronization

/// One ring pair of a network interface on a switch, whose packets the lane carries in both
/// directions.
///
/// Packets from the interface's receive ring are sent from the switch port's transmit ring of the
/// same number, and packets from the port's receive ring from the interface's transmit ring. The
/// worker serves the lane or, in polling mode, a polling thread does. Each hands the lane to the
/// other through ``carry()``, which only one thread runs at a time.
@safe
final class InterfaceLane: WorkerTask, @unchecked Sendable {
  /// State that the lanes of one interface share.
  final class Common: Sendable {
    /// Whether the interface has disappeared.
    let hasFailed = Atomic<Bool>(false)
    /// The number of lanes that have not ended.
    let left: Atomic<Int>
    /// Called after the last use of the ports.
    let end: @Sendable () -> Void

    init(lanes: Int, end: @escaping @Sendable () -> Void) {
      left = Atomic(lanes)
      self.end = end
    }
  }

  /// Whether a polling thread serves the lane.
  let isPolled = Atomic<Bool>(false)
  private let isInUse = Atomic<Bool>(false)
  private let common: Common
  /// Has at most one ring in each direction.
  private let interface: MappedPort
  private let port: MappedPort

  // The following belong to the thread that has set `isInUse`.
  private var isBlocked = false
  /// Whether the interface has not finished all slots that it was given.
  private var isUnfinished = false
  private var lastProgress: UInt64 = 0
  private var finished: UInt32 = 0
  private var alarms = FalseAlarms()
  private var pause = InterfaceLane.shortestPause

  /// When the interface was taken off the switch, monotonic nanoseconds; 0 while it is on.
  private let closedAt = Atomic<UInt64>(0)

  /// The pause between looks at an interface that has not finished, nanoseconds: the first one, the
  /// longest one while packets wait for room, and the longest one otherwise.
  ///
  /// Completions wake no thread.
  private static let shortestPause: UInt64 = 50_000
  private static let blockedPause: UInt64 = 10_000_000
  private static let longestPause: UInt64 = 100_000_000
  /// How long a closed lane delivers packets that were sent to it, nanoseconds: the minimum, and
  /// the maximum while nothing moves.
  private static let shortestLinger: UInt64 = 2_000_000
  private static let longestLinger: UInt64 = 200_000_000
  /// The maximum even if packets move, nanoseconds.
  private static let longestEnd: UInt64 = 2_000_000_000

  init(interface: MappedPort, port: MappedPort, _ common: Common) {
    self.interface = interface
    self.port = port
    self.common = common
  }

  // MARK: - Carrying

  func turn() -> Int {
    isPolled.load(ordering: .acquiring) ? 0 : carry()
  }

  /// Runs `body` with the lane's state; returns nil, without running it, while another thread has
  /// the lane.
  private func exclusively<Result>(_ body: () -> Result) -> Result? {
    guard !isInUse.exchange(true, ordering: .acquiring) else { return nil }
    defer { isInUse.store(false, ordering: .releasing) }
    return body()
  }

  /// Does the same for the worker, which leaves a lane to its polling thread.
  private func asWorker<Result>(_ body: () -> Result) -> Result? {
    isPolled.load(ordering: .acquiring) ? nil : exclusively(body)
  }

  /// Moves the packets that can be moved, unless another thread is doing so.
  ///
  /// - Returns: The number of slots moved.
  func carry() -> Int {
    exclusively { carryBoth() } ?? 0
  }

  private func carryBoth() -> Int {
    var moved = 0
    if !isClosed, interface.receiveCount > 0, port.transmitCount > 0 {
      let outcome = unsafe BufferSwap(
        source: interface.receive(0), target: port.transmit(0)
      ).move(TurnBudget())
      moved += outcome.moved
      if outcome.hasFailed { fail() }
    }
    if port.receiveCount > 0, interface.transmitCount > 0 { moved += carryOut() }
    if moved > 0 { alarms.forget() }
    return moved
  }

  private func carryOut() -> Int {
    let target = unsafe interface.transmit(0)
    let outcome = unsafe BufferSwap(source: port.receive(0), target: target)
      .move(TurnBudget())
    var hasFailed = outcome.hasFailed
    if outcome.moved == 0, isUnfinished, !outcome.isBlocked {
      if unsafe target.synchronizeTransmit(.forceReclaim).isFailure { hasFailed = true }
    }
    if unsafe hasFailed || target.kring.state.contains(.stopped) { fail() }
    isBlocked = outcome.isBlocked
    // Compared only: neither is used as an index.
    let cursors = unsafe target.kring.cursors
    let (sent, done) = (cursors.hwcur, cursors.hwtail)
    isUnfinished = unsafe sent != target.ring.head || target.ring.next(done) != sent
    if outcome.moved > 0 || done != finished {
      finished = done
      pause = Self.shortestPause
      if isClosed { lastProgress = monotonicNanoseconds() }
    }
    return outcome.moved
  }

  private func fail() { common.hasFailed.store(true, ordering: .releasing) }

  /// Whether the interface has disappeared.
  var hasFailed: Bool { common.hasFailed.load(ordering: .acquiring) }

  // MARK: - Sleeping

  var items: [Sleeper.Item] { asWorker { itemsOfWorker } ?? [] }

  private var itemsOfWorker: [Sleeper.Item] {
    let receives = !isClosed && interface.receiveCount > 0
    // Wait for the interface even if nothing is received: this reports that the interface has
    // disappeared.
    var result = [Sleeper.Item(port: interface, wanted: receives ? .receive : [])]
    if port.receiveCount > 0, !isBlocked {
      result.append(Sleeper.Item(port: port, wanted: .receive))
    }
    return result
  }

  func nextLook() -> UInt64? {
    let next = asWorker { () -> UInt64? in
      guard isBlocked || isUnfinished else { return nil }
      defer { pause = min(pause * 2, isBlocked ? Self.blockedPause : Self.longestPause) }
      return pause
    }
    return next ?? nil
  }

  func noteAlarm(at now: UInt64) { _ = asWorker { alarms.note(at: now) } }
  var pausesUntil: UInt64 { asWorker { alarms.pausesUntil } ?? 0 }

  // MARK: - Ending

  /// Takes the interface off the switch.
  ///
  /// The port closes for senders. The packets that they have sent to it still go out.
  func close() {
    guard !isClosed else { return }
    closedAt.store(monotonicNanoseconds(), ordering: .releasing)
    if port.receiveCount > 0 { unsafe port.receive(0).kring.setOpen(false) }
  }

  private var isClosed: Bool { closedAt.load(ordering: .acquiring) != 0 }

  var isClosing: Bool { isClosed || hasFailed }

  func isDone(at now: UInt64) -> Bool { asWorker { hasCarriedAll(at: now) } ?? false }

  private func hasCarriedAll(at now: UInt64) -> Bool {
    if hasFailed { return true }
    guard isClosed else { return false }
    let closedAt = closedAt.load(ordering: .acquiring)
    if now > max(closedAt, lastProgress) + Self.longestLinger { return true }
    // A process that keeps sending after the port has left does not keep the lane longer than this.
    if now > closedAt + Self.longestEnd { return true }
    // Senders that looked before the port was closed have finished by now.
    guard now > closedAt + Self.shortestLinger, !isUnfinished else { return false }
    return unsafe port.receiveCount == 0 || port.receive(0).ring.ownSlots?.count ?? 0 == 0
  }

  func finish() {
    // Detach here: a socket that stays open would keep its queue taken.
    interface.detach()
    if common.left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { common.end() }
  }
}
