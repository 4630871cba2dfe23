/// Moves packets from a receive ring to a transmit ring by copying them, and trusts neither ring.
///
/// Each slot is loaded once into a local; only the local is checked and used. A packet of one slot
/// is dropped if a slot names no buffer or has a length that does not fit. In a longer packet, an
/// empty slot takes the place of such a slot, so that the other slots keep their places. Both are
/// counted at the ring whose slot is invalid.
@unsafe
struct ValidatingCopy {
  let source: MappedRing
  let target: MappedRing
  /// The krings at which invalid slots of the source and of the target are counted.
  let sourceCounts: KRing
  let targetCounts: KRing

  /// Moves as many slots as packets, room and budget allow.
  ///
  /// Syncs both rings before and after. A ring that another thread is syncing is left for the next
  /// turn.
  ///
  /// - Parameter budget: What may still be moved; the slot that exceeds it is the last one.
  /// - Returns: The number of slots taken from the source.
  func move(_ budget: inout TurnBudget) -> Int {
    // Look for room first: packets without room stay where they are.
    _ = unsafe target.synchronizeTransmit(.forceReclaim)
    guard let room = unsafe target.ring.ownSlots, room.count > 0 else { return 0 }
    _ = unsafe source.synchronizeReceive([])
    guard let packets = unsafe source.ring.ownSlots, packets.count > 0 else { return 0 }
    let count = min(room.count, packets.count, budget.ringLimit)
    var (from, to) = (packets.first, room.first)
    var isInside = false
    var moved = 0
    while moved < count, !budget.isSpent {
      let slot = unsafe source.ring.loadWord(from)
      let continues = slot.flags.contains(.moreFragments)
      let outcome = unsafe copy(slot, to: to)
      // An invalid target slot is skipped: no later packet would ever get past it.
      if outcome != .badSource || continues || isInside {
        to = unsafe target.ring.next(to)
      }
      isInside = continues
      from = unsafe source.ring.next(from)
      budget.chargeSlot(Int(slot.length))
      moved &+= 1
    }
    unsafe target.ring.giveAway(upTo: to)
    _ = unsafe target.synchronizeTransmit([])
    unsafe source.ring.giveAway(upTo: from)
    _ = unsafe source.synchronizeReceive([])
    return moved
  }

  private enum Outcome {
    case copied, badSource, badTarget
  }

  /// Copies one slot's bytes and writes the target slot.
  ///
  /// - Returns: Which slot is invalid, if one is; then the target slot is empty.
  private func copy(_ slot: SlotWord, to index: UInt32) -> Outcome {
    let place = unsafe target.ring.place(index)
    let buffer = unsafe place.loadBufferIndex()
    var outcome = Outcome.copied
    let length = Int(slot.length)
    // The packet must also fit the target's buffers.
    let rule = unsafe SlotRule(
      bufferCount: source.ring.bufferCount,
      bufferSize: min(source.ring.bufferSize, target.ring.bufferSize))
    if let fault = rule.fault(of: slot, isGiven: true) {
      unsafe sourceCounts.countDrop(fault)
      outcome = .badSource
    } else if unsafe !target.ring.hasBuffer(buffer) {
      unsafe targetCounts.countDrop(.badBufferIndex)
      outcome = .badTarget
    } else {
      // Copy no byte more: the bytes behind the packet are not meant for the other side.
      unsafe target.ring.buffer(buffer).copyMemory(
        from: source.ring.buffer(slot.buffer), byteCount: length)
    }
    unsafe place.store(
      length: outcome == .copied ? UInt16(truncatingIfNeeded: length) : 0,
      flags: slot.flags.intersection(.moreFragments))
    return outcome
  }
}
