/// Moves packets from a receive ring to a transmit ring of the same region without copying: the two
/// slots exchange their buffers.
///
/// Every process on the switch has the region mapped. Each slot is therefore loaded once into a
/// local; only the local is checked and used. Packets are moved whole. A packet of one slot is
/// dropped if a slot names no buffer or has too many bytes. In a longer packet, an empty slot takes
/// the place of such a slot. Both are counted at the ring whose slot is invalid.
@unsafe
struct BufferSwap {
  let source: MappedRing
  let target: MappedRing

  struct Outcome {
    /// The number of slots taken from the source.
    var moved = 0
    /// Whether packets are left that found no room.
    var isBlocked = false
    /// Whether a sync of one of the rings has failed.
    var hasFailed = false
  }

  /// Moves as many slots as packets, room and budget allow.
  ///
  /// The budget always allows at least one packet. The source is synced before, and the target
  /// afterwards. A target without enough room is also synced before.
  func move(_ budget: TurnBudget) -> Outcome {
    var outcome = Outcome()
    if unsafe source.synchronizeReceive([]).isFailure { outcome.hasFailed = true }
    guard let packets = unsafe source.ring.ownSlots, packets.count > 0 else { return outcome }
    let wanted = min(packets.count, budget.ringLimit)
    var room = unsafe target.ring.ownSlots
    if (room?.count ?? 0) < wanted {
      if unsafe target.synchronizeTransmit(.forceReclaim).isFailure { outcome.hasFailed = true }
      room = unsafe target.ring.ownSlots
    }
    let fitting = min(wanted, room?.count ?? 0)
    let count = unsafe whole(affordable(fitting, from: packets.first, budget), from: packets.first)
    guard let room, count > 0 else {
      outcome.isBlocked = true
      return outcome
    }
    unsafe swap(count, from: packets.first, to: room.first)
    if unsafe target.synchronizeTransmit([]).isFailure { outcome.hasFailed = true }
    outcome.moved = Int(count)
    return outcome
  }

  /// Limits `count` slots to the bytes of the budget, but not below the first packet.
  ///
  /// The swap copies nothing, but the process that gets the buffers may have to copy the packets.
  private func affordable(_ count: UInt32, from first: UInt32, _ budget: TurnBudget) -> UInt32 {
    let ring = unsafe source.ring
    guard unsafe Int(count) &* Int(ring.bufferSize) > budget.bytes else { return count }
    var (budget, place, taken) = (budget, first, UInt32(0))
    var hasEnd = false
    while taken < count, !budget.isSpent || !hasEnd {
      let slot = unsafe ring.loadWord(place)
      budget.chargeSlot(Int(slot.length))
      if !slot.flags.contains(.moreFragments) { hasEnd = true }
      place = unsafe ring.next(place)
      taken += 1
    }
    return taken
  }

  /// Limits `count` slots to whole packets.
  ///
  /// Returns `count` if the first packet is longer than any receiver could take.
  private func whole(_ count: UInt32, from first: UInt32) -> UInt32 {
    let ring = unsafe source.ring
    let slots = unsafe ring.slotCount
    var whole = count
    while whole > 0 {
      let last = first + whole - 1
      let place = last < slots ? last : last - slots
      if unsafe !ring.loadWord(place).flags.contains(.moreFragments) { return whole }
      whole -= 1
    }
    let most = unsafe min(
      UInt32(SwitchLimits.fragments), ring.slotCount - 1, target.ring.slotCount - 1)
    return count >= most ? count : 0
  }

  private func swap(_ count: UInt32, from first: UInt32, to room: UInt32) {
    let (input, output) = unsafe (source.ring, target.ring)
    var (from, to) = (first, room)
    var isInside = false
    for _ in 0..<count {
      let slot = unsafe input.loadWord(from)
      let continues = slot.flags.contains(.moreFragments)
      let isPart = continues || isInside
      // Slots that a dead sender had reserved arrive empty.
      if isPart || slot.length > 0, unsafe exchange(slot, at: from, with: to) || isPart {
        to = unsafe output.next(to)
      }
      isInside = continues
      from = unsafe input.next(from)
    }
    unsafe output.giveAway(upTo: to)
    unsafe input.giveAway(upTo: from)
  }

  /// Exchanges the buffers of a source slot and a target slot.
  ///
  /// - Returns: False when the source slot is invalid; then the target slot is empty.
  private func exchange(_ slot: SlotWord, at from: UInt32, with to: UInt32) -> Bool {
    let (input, output) = unsafe (source.ring, target.ring)
    let free = unsafe output.loadWord(to).buffer
    let kept = slot.flags.intersection(.moreFragments)
    let length = UInt16(truncatingIfNeeded: slot.length)
    if let fault = unsafe input.rule.fault(of: slot, isGiven: true) {
      unsafe source.kring.countDrop(fault)
    } else if unsafe !output.hasBuffer(free) {
      // Pass over the target slot and leave it empty; otherwise no packet would ever get past it.
      unsafe target.kring.countDrop(.badBufferIndex)
      unsafe output.store(SlotWord(bufferIndex: free, length: 0, flags: kept), at: to)
      return true
    } else {
      unsafe output.store(
        SlotWord(bufferIndex: slot.buffer, length: length, flags: kept.union(.bufferChanged)),
        at: to)
      unsafe input.store(
        SlotWord(bufferIndex: free, length: length, flags: .bufferChanged), at: from)
      return true
    }
    unsafe output.store(SlotWord(bufferIndex: free, length: 0, flags: kept), at: to)
    return false
  }
}
