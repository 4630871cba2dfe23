/// Moves packets from a receive ring to a transmit ring of the same region without copying them: the
/// buffers of the two slots change places.
///
/// What a ring says of its slots is loaded once, checked, and then used: every process on the switch has the
/// region mapped. Packets are moved whole. One with a slot that names no buffer, or too many bytes, is
/// dropped and counted where it came from.
@unsafe
struct BufferSwap {
  let source: AttachedRing
  let target: AttachedRing

  struct Outcome {
    /// How many slots were taken.
    var moved = 0
    /// Whether packets are left for which there was no room.
    var isBlocked = false
    /// Whether one of the rings has stopped.
    var hasFailed = false
  }

  /// Moves as many slots as there are packets, room, and budget, at least a packet's. The source is synced
  /// before, the target afterwards.
  func move(_ budget: TurnBudget) -> Outcome {
    var outcome = Outcome()
    if unsafe source.synchronizeReceive([]) == .failed { outcome.hasFailed = true }
    guard let packets = unsafe source.ring.ownSlots, packets.count > 0 else { return outcome }
    let wanted = min(packets.count, budget.ringLimit)
    var room = unsafe target.ring.ownSlots
    if (room?.count ?? 0) < wanted {
      if unsafe target.synchronizeTransmit(.forceReclaim) == .failed { outcome.hasFailed = true }
      room = unsafe target.ring.ownSlots
    }
    let fitting = min(wanted, room?.count ?? 0)
    let count = unsafe whole(affordable(fitting, from: packets.first, budget), from: packets.first)
    guard let room, count > 0 else {
      outcome.isBlocked = true
      return outcome
    }
    unsafe swap(count, from: packets.first, to: room.first)
    if unsafe target.synchronizeTransmit([]) == .failed { outcome.hasFailed = true }
    outcome.moved = Int(count)
    return outcome
  }

  /// How many of `count` slots there are bytes for; those of the first packet whatever they are.
  ///
  /// The buffers change places, but whoever gets them may have to copy.
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

  /// How many of `count` slots are whole packets; all of them where the first packet is one that nobody
  /// could take.
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
      // What a dead sender had reserved arrives empty.
      if isPart || slot.length > 0, unsafe exchange(slot, at: from, with: to) || isPart {
        to = unsafe output.next(to)
      }
      isInside = continues
      from = unsafe input.next(from)
    }
    unsafe output.giveAway(upTo: to)
    unsafe input.giveAway(upTo: from)
  }

  /// Has a slot of either ring take the other's buffer.
  ///
  /// - Returns: False when the source's cannot give it; then the target's slot is an empty one.
  private func exchange(_ slot: SlotWord, at from: UInt32, with to: UInt32) -> Bool {
    let (input, output) = unsafe (source.ring, target.ring)
    let free = unsafe output.loadWord(to).buffer
    let kept = slot.flags.intersection(.moreFragments)
    let length = UInt16(truncatingIfNeeded: slot.length)
    if unsafe !input.hasBuffer(slot.buffer) {
      unsafe source.kring.countDrop(.badBufferIndex)
    } else if unsafe slot.length > UInt64(input.bufferSize) {
      unsafe source.kring.countDrop(.badLength)
    } else if unsafe !output.hasBuffer(free) {
      // Left behind empty, or no packet would ever get past it.
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
