internal import Synchronization

// Rings as somebody reads them who believes nothing in them: other processes can write there at any time.

extension Ring {
  /// The slots that are the application's, if the cursors are in range.
  var ownSlots: (first: UInt32, count: UInt32)? {
    let (head, tail) = unsafe (head, tail)
    guard unsafe head < slotCount && tail < slotCount else { return nil }
    return unsafe (head, distance(from: head, to: tail))
  }

  /// Gives the slots before `index` to the engine.
  func giveAway(upTo index: UInt32) {
    unsafe cur = index
    unsafe head = index
  }

  /// A slot as it stood at one moment, without its pointer: whoever writes to it meanwhile is too late.
  func load(_ index: UInt32) -> Slot {
    let word = unsafe firstWord(index).pointee.load(ordering: .relaxed)
    return Slot(
      bufferIndex: UInt32(truncatingIfNeeded: word),
      length: UInt16(truncatingIfNeeded: word >> 32),
      flags: SlotFlags(rawValue: UInt16(truncatingIfNeeded: word >> 48)))
  }

  /// Writes buffer, length and flags of a slot at once; its pointer stays.
  func store(_ slot: Slot, at index: UInt32) {
    let word =
      UInt64(slot.bufferIndex) | UInt64(slot.length) << 32 | UInt64(slot.flags.rawValue) << 48
    unsafe firstWord(index).pointee.store(word, ordering: .relaxed)
  }

  /// Whether an index is that of a buffer that may be in a slot.
  func hasBuffer(_ index: UInt32) -> Bool {
    unsafe index >= 2 && index < bufferCount
  }

  private func firstWord(_ index: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe UnsafeMutableRawPointer(slot(index)).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}
