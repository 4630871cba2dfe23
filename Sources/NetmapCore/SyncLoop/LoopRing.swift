/// A ring that a ``SyncLoop`` drives by its control block.
@unsafe
struct LoopRing {
  let ring: MappedRing
  let block: ControlBlock
  /// An eventfd by which to wake the application; -1 for none.
  let signal: CInt
  let rule: Rule
  /// The end of the application's slots that was last published.
  private var published: UInt32

  /// When the application need not wake the loop.
  enum Rule {
    /// Always: the loop looks at the ring again and again.
    case polled
    /// While the loop works on the ring.
    case notified
    /// Never (`NM_OPT_SYNC_KLOOP_DIRECT_TX`, `NM_OPT_SYNC_KLOOP_DIRECT_RX`).
    case direct
  }

  /// How a look at a ring has ended.
  enum Outcome {
    /// There is nothing to do until the application or the port's other side does something.
    case idle
    /// The other side has to return slots first (transmit), or the application has (receive).
    case full
    /// There is more to do, or another thread is syncing the ring.
    case unfinished
    /// The ring was reset, or the backend failed.
    case failed
  }

  /// The most syncs of a look. An application that never stops sending must not keep other rings from their turn, nor the
  /// loop from ending.
  private static let mostSyncs = 64
  /// Syncs in a row that bring no packets before a look at a receive ring ends, as in netmap.
  private static let mostDrySyncs = 2

  init(_ ring: MappedRing, _ block: ControlBlock, signal: CInt, _ rule: Rule) {
    unsafe self.ring = ring
    unsafe self.block = block
    unsafe self.signal = signal
    unsafe self.rule = rule
    unsafe published = ring.kring.hwtail(below: ring.ring.slotCount) ?? 0
  }

  /// Syncs the ring until there is nothing to do.
  mutating func look() -> Outcome {
    if unsafe rule != .direct { unsafe block.waiveKicks() }
    var request = unsafe block.loadRequest()
    var dry = 0
    for _ in unsafe 0..<Self.mostSyncs {
      let outcome = unsafe ring.synchronize(request.cursors, flags(of: request.flags))
      guard outcome == .done, let shown = unsafe publish() else {
        // The application can correct its cursors by those of the ring.
        if outcome == .reset { _ = unsafe publish() }
        if unsafe rule != .polled { unsafe block.askForKicks() }
        return outcome == .busy ? .unfinished : .failed
      }
      dry = shown.hasMoved ? 0 : dry + 1
      let head = request.cursors.head
      request = unsafe block.loadRequest()
      if unsafe hasNothingNew(request.cursors, since: head, shown.tail) {
        if unsafe rule == .polled { return .idle }
        unsafe block.askForKicks()
        request = unsafe block.loadRequest()
        if unsafe hasNothingNew(request.cursors, since: head, shown.tail) {
          return unsafe ring.direction == .receive || shown.isHeldUp(at: head) ? .full : .idle
        }
        if unsafe rule != .direct { unsafe block.waiveKicks() }
        continue
      }
      switch unsafe ring.direction {
      case .transmit:
        if shown.tail == head { return .full }
      case .receive:
        if unsafe shown.tail == head || dry >= Self.mostDrySyncs { return .idle }
      }
    }
    return .unfinished
  }

  /// The flags of a sync: those that the application asks for, and a transmit ring of which less than half is free takes
  /// back all that has been sent, as in netmap.
  private func flags(of request: SyncFlags) -> SyncFlags {
    let count = unsafe ring.ring.slotCount
    guard unsafe ring.direction == .transmit, let hwcur = unsafe ring.kring.hwcur(below: count)
    else { return request }
    let space = unsafe ring.ring.distance(from: hwcur, to: published)
    return space <= count / 2 ? request.union(.forceReclaim) : request
  }

  /// Shows the application the cursors after a sync, and wakes it if it wants that.
  ///
  /// - Returns: What the application sees; nil when another process has damaged the kring.
  private mutating func publish() -> Shown? {
    let count = unsafe ring.ring.slotCount
    guard let hwcur = unsafe ring.kring.hwcur(below: count),
      let hwtail = unsafe ring.kring.hwtail(below: count)
    else { return nil }
    unsafe block.publish(hwcur: hwcur, hwtail: hwtail)
    guard unsafe hwtail != published else {
      return Shown(hwcur: hwcur, tail: hwtail, hasMoved: false)
    }
    unsafe published = hwtail
    if unsafe signal >= 0, unsafe block.wantsSignal() { unsafe EventDescriptor.signal(signal) }
    return Shown(hwcur: hwcur, tail: hwtail, hasMoved: true)
  }

  /// The cursors that the application sees after a sync.
  private struct Shown {
    let hwcur: UInt32
    let tail: UInt32
    /// Whether the end of the application's slots has moved.
    let hasMoved: Bool

    /// Whether a transmit ring has no room, or slots before `head` that are not sent.
    func isHeldUp(at head: UInt32) -> Bool { tail == head || hwcur != head }
  }

  /// Whether the application has done nothing since a sync that it could wake the loop for: sent no slots, or returned
  /// none although it has all of them.
  private func hasNothingNew(
    _ request: LoadedCursors, since head: UInt32, _ tail: UInt32
  ) -> Bool {
    switch unsafe ring.direction {
    case .transmit: return request.head == head
    case .receive:
      let last = unsafe request.head == 0 ? ring.ring.slotCount &- 1 : request.head &- 1
      return tail == last
    }
  }
}
