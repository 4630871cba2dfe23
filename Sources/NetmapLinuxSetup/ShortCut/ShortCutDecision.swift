internal import CLinux
internal import Glibc
internal import NetmapCore
internal import NetmapLinux
internal import Synchronization

// Which lanes are joined.
//
// A lane is joined in two steps, so that the order of the packets is kept. First it is held: from its next sync on, the
// sender puts packets into the lane, and the receiver takes only what the kernel delivers. When everything that the sender
// gave to the kernel before has arrived or is lost, the engine notes the barrier, and joins the lane, or withdraws it if
// something has come between the interfaces meanwhile. Nothing else ends a hold while both rings are there, because
// without the barrier nobody knows which packets come first.
//
// All calls here come with the lock of the short cut held, but those that take it.
extension ShortCut {
  /// A lane that is held.
  struct Hold {
    /// When it began, nanoseconds of the monotonic clock.
    let start: UInt64
    /// Whether each sync that found the lane with the kernel is over.
    let isQuiet: () -> Bool
  }

  /// How long a call waits for holds to end before it leaves them to a thread, microseconds.
  static let holdTime = 50_000
  /// How long a sender that is being closed waits for what the kernel still has of it, microseconds.
  private static let lastTime = 200_000
  /// How long a hold may take, nanoseconds. The kernel completes each frame within milliseconds, but where an interface is
  /// down, or a process has garbled the socket's rings.
  private static let longestHold: UInt64 = 10_000_000_000

  /// Withdraws or joins what the present state of the two interfaces asks for.
  func reconsider() { lock.withLock { _ in decide() } }

  /// The lanes that are joined now.
  var joinedCount: Int {
    lock.withLock { _ in keys.count { unsafe lane($0).mode == .joined } }
  }

  /// - Parameter time: How long to wait for holds to end, microseconds.
  func decide(within time: Int = ShortCut.holdTime) {
    if let limit = frameLimit() {
      for key in keys { hold(key, limit) }
      endHolds(within: time, joining: true)
    } else {
      withdrawAll()
      endHolds(within: time)
    }
    lookAgain()
  }

  /// The most bytes of a packet; nil while the kernel would do something else with one than hand it to the other end as it
  /// is, or nobody can tell.
  private func frameLimit() -> UInt32? {
    guard let mtu = try? mtuWithoutObstacle() else { return nil }
    // Ethernet header and one VLAN tag, as in the kernel's own check (`is_skb_forwardable`).
    return mtu &+ 18
  }

  private func mtuWithoutObstacle() throws(NetmapError) -> UInt32? {
    guard let one = unsafe ends[0], let other = unsafe ends[1],
      try one.veth.isPeer(of: other.veth)
    else { return nil }
    let states = (try one.veth.state(), try other.veth.state())
    guard states.0.isRunning, states.1.isRunning, states.0.mtu == states.1.mtu else { return nil }
    for (end, state) in [(one, states.0), (other, states.1)] {
      // A receive ring of ours means that the program is ours.
      if state.hasProgram, unsafe end.receivers.isEmpty { return nil }
      if try end.veth.foreignDiscipline() != nil { return nil }
    }
    return states.0.mtu
  }

  // MARK: - Holds

  /// Begins to join a lane, if it can be joined.
  private func hold(_ key: LaneKey, _ frameLimit: UInt32) {
    let lane = unsafe lane(key)
    if unsafe lane.mode == .joined || lane.mode == .held { unsafe lane.frameLimit = frameLimit }
    guard unsafe lane.mode == .kernel, isReady(key), unsafe lane.taken == lane.sent,
      let sender = unsafe ends[key.side]?.senders[key.pair], Self.canWaitForGracePeriod
    else { return }
    unsafe lane.frameLimit = frameLimit
    unsafe lane.lastLook = ShortCutLane.coarseNanoseconds()
    unsafe lane.mode = .held
    unsafe holds[key] = Hold(
      start: monotonicNanoseconds(), isQuiet: Self.isQuiet(sender.kring))
  }

  /// Whether a lane has buffers and two rings, all in one region.
  private func isReady(_ key: LaneKey) -> Bool {
    guard let region = unsafe filled[key], unsafe !abandoned.contains(key),
      let sender = unsafe ends[key.side]?.senders[key.pair], unsafe !sender.isStopped,
      let receiver = unsafe ends[1 - key.side]?.receivers[key.pair],
      unsafe sender.region === region && receiver.region === region
    else { return false }
    return unsafe receiver.kring.offsetMask == 0
  }

  /// Ends the holds of lanes whose senders' frames have arrived.
  ///
  /// - Parameters:
  ///   - time: How long to wait, microseconds.
  ///   - joins: Whether these lanes are to be joined, or left to the kernel.
  func endHolds(within time: Int, joining joins: Bool = false) {
    guard unsafe !holds.isEmpty else { return }
    var delivered: Set<LaneKey> = []
    _ = Self.waits(time) {
      for (key, hold) in unsafe holds where !delivered.contains(key) {
        unsafe lane(key).lastLook = ShortCutLane.coarseNanoseconds()
        guard let sender = unsafe ends[key.side]?.senders[key.pair] else { continue }
        if unsafe hold.isQuiet() && sender.ring.isDelivered() { delivered.insert(key) }
      }
      return unsafe delivered.count == holds.count
    }
    if !delivered.isEmpty, Self.passGracePeriod() {
      for key in delivered { end(key, joins && isReady(key) ? .joined : .kernel) }
    }
    let now = monotonicNanoseconds()
    for (key, hold) in unsafe holds where now &- hold.start > Self.longestHold { giveUp(key) }
  }

  /// Ends a hold: what the sender gave to the kernel before is in the receiver's ring.
  func end(_ key: LaneKey, _ mode: ShortCutLane.Mode) {
    let lane = unsafe lane(key)
    unsafe holds[key] = nil
    if let receiver = unsafe ends[1 - key.side]?.receivers[key.pair] {
      unsafe lane.barrier = receiver.ring.writtenFrames
    }
    unsafe lane.mode = mode
  }

  /// Ends the hold of a lane whose sender is about to be closed.
  func endForLastTime(_ key: LaneKey) {
    let isDelivered = Self.waits(Self.lastTime) {
      guard let sender = unsafe ends[key.side]?.senders[key.pair] else { return true }
      // What the kernel has not taken goes with the socket.
      return unsafe sender.ring.isDelivered() || sender.ring.hasNothingUnderWay
    }
    if isDelivered, Self.passGracePeriod() { end(key, .kernel) } else { giveUp(key) }
  }

  /// Ends a hold of which the kernel has not delivered what was sent before. The packets in the lane are lost, so that they
  /// do not overtake; the sender's later ones take the way of the former ones.
  private func giveUp(_ key: LaneKey) {
    let lane = unsafe lane(key)
    unsafe holds[key] = nil
    unsafe lane.mode = .closed
    guard let sender = unsafe ends[key.side]?.senders[key.pair],
      unsafe Self.waits(Self.closeTime, until: Self.isQuiet(sender.kring))
    else { return }
    if unsafe lane.taken == lane.sent { unsafe lane.mode = .kernel }
  }

  // MARK: - Withdrawing

  /// Leaves a lane to the kernel. A hold goes on until it ends by itself.
  func withdraw(_ key: LaneKey) {
    let lane = unsafe lane(key)
    if unsafe lane.mode == .joined { unsafe lane.mode = .kernel }
  }

  func withdrawAll() { keys.forEach { withdraw($0) } }

  // MARK: - Later

  /// The first and the longest pause between two looks of the thread: at holds, and at lanes whose receiver has packets of
  /// an earlier join to take, microseconds.
  private static let pauses = (first: 1_000, hold: 20_000, other: 1_000_000)

  /// Whether a lane could be joined as soon as its receiver has taken what is in it.
  private var hasLeftovers: Bool {
    keys.contains { key in
      let lane = unsafe lane(key)
      return unsafe lane.mode == .kernel && isReady(key) && lane.taken != lane.sent
    }
  }

  /// Starts a thread that looks again at holds that have not ended, and at lanes that could not be joined yet.
  private func lookAgain() {
    guard unsafe !isLookingAgain, unsafe !holds.isEmpty || hasLeftovers else { return }
    // Without a thread, the next change makes somebody look again.
    guard
      let thread = try? EngineThread.start(
        "veth short cut", { [weak self] in ShortCut.look { self } })
    else { return }
    pthread_detach(thread)
    unsafe isLookingAgain = true
  }

  /// The thread of ``lookAgain()``.
  private static func look(_ shortCut: () -> ShortCut?) {
    var pause = pauses.first
    while true {
      usleep(UInt32(pause))
      guard let longest = shortCut()?.lookOnce() else { return }
      pause = min(2 * pause, longest)
    }
  }

  /// - Returns: The longest pause until the next look; nil when there is nothing to look at any more.
  private func lookOnce() -> Int? {
    lock.withLock { _ in
      let hadLeftovers = hasLeftovers
      if unsafe !holds.isEmpty || !hadLeftovers { decide(within: 0) }
      if unsafe !holds.isEmpty { return Self.pauses.hold }
      if hasLeftovers { return Self.pauses.other }
      unsafe isLookingAgain = false
      return nil
    }
  }
}

// MARK: - Waiting

extension ShortCut {
  /// A condition that holds once no sync of a ring is under way that was under way at the time of this call.
  ///
  /// One sync more than this may count: the one under way, which has the lock, may not have counted itself yet.
  static func isQuiet(_ kring: KRing) -> () -> Bool {
    let syncs = unsafe kring.syncCount
    return { unsafe kring.lockHolder == 0 || kring.syncCount &- syncs >= 2 }
  }

  /// Waits until a condition holds, which is tried once at least.
  ///
  /// - Returns: Whether it does.
  static func waits(_ microseconds: Int, until condition: () -> Bool) -> Bool {
    let end = monotonicNanoseconds() &+ UInt64(microseconds) * 1000
    while !condition() {
      guard monotonicNanoseconds() < end else { return false }
      usleep(50)
    }
    return true
  }

  /// Whether the kernel can be asked to wait for a grace period. It cannot where processors run without its tick
  /// (`nohz_full`).
  private static var canWaitForGracePeriod: Bool {
    clinux_membarrier(CLINUX_MEMBARRIER_QUERY) & CLINUX_MEMBARRIER_GLOBAL != 0
  }

  /// Waits until every processor that was receiving packets has handed them to their sockets.
  ///
  /// The kernel completes a sent packet when it takes it from the veth's queue, and shows it to the receiver at the end of
  /// the same run of NAPI. Such a run is a read-side critical section of RCU, and membarrier(2) waits for those.
  ///
  /// - Returns: False where the kernel has no such call.
  static func passGracePeriod() -> Bool { clinux_membarrier(CLINUX_MEMBARRIER_GLOBAL) == 0 }
}
