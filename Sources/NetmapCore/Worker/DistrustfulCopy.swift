/// Moves packets from a receive ring to a transmit ring by copying them, believing neither.
///
/// What a ring says of its slots is loaded once, checked, and then used. An index that names no buffer or
/// a length that does not fit costs the packet, which is counted where it came from; where the slot is
/// part of a longer packet an empty one takes its place, so that the others keep theirs.
@unsafe
struct DistrustfulCopy {
  let source: AttachedRing
  let target: AttachedRing
  /// Where nonsense in the source's slots is counted, and in the target's.
  let sourceCounts: KRing
  let targetCounts: KRing

  /// Moves as many slots as there are packets, room, and budget.
  ///
  /// Both rings are synced before and after. A ring that somebody else holds is left for the next turn.
  ///
  /// - Parameter budget: What may still be moved: it ends with the slot that exceeds it.
  /// - Returns: How many slots were taken.
  func move(_ budget: inout TurnBudget) -> Int {
    // Room first: packets that have none stay where they are.
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
      if unsafe copy(slot, to: to) || continues || isInside {
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

  /// Copies one slot's bytes and writes the target's slot.
  ///
  /// - Returns: False when the slot is nonsense; then the target's is an empty one.
  private func copy(_ slot: SlotWord, to index: UInt32) -> Bool {
    let place = unsafe target.ring.place(index)
    let buffer = unsafe place.loadBufferIndex()
    var length = Int(slot.length)
    let room = unsafe Int(min(source.ring.bufferSize, target.ring.bufferSize))
    if unsafe !source.ring.hasBuffer(slot.buffer) {
      unsafe sourceCounts.countDrop(.badBufferIndex)
      length = -1
    } else if length > room {
      unsafe sourceCounts.countDrop(.badLength)
      length = -1
    } else if unsafe !target.ring.hasBuffer(buffer) {
      unsafe targetCounts.countDrop(.badBufferIndex)
      length = -1
    } else {
      // Not a byte more: what lies behind the packet is not meant for the other side.
      unsafe target.ring.buffer(buffer).copyMemory(
        from: source.ring.buffer(slot.buffer), byteCount: length)
    }
    unsafe place.store(
      length: UInt16(truncatingIfNeeded: max(0, length)),
      flags: slot.flags.intersection(.moreFragments))
    return length >= 0
  }
}
