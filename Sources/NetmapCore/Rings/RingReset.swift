/// The reset of a ring whose application broke its rules; other rings are not affected (`netmap_ring_reinit`).
extension MappedRing {
  /// Resets `head`, `cur` and `tail` to the engine's position, and clears slots with an invalid buffer or a
  /// length beyond the buffer size.
  ///
  /// Upstream keeps cursors that are in range but illegal and uses them as its new reference; here every
  /// violation ends in the same consistent state.
  ///
  /// - Returns: The cursors that the ring was reset to, with which the sync continues. A peer may write other
  ///   cursors at any time; the next sync validates those.
  @inline(never)
  @discardableResult
  func reset() -> AcceptedCursors {
    let ring = unsafe ring
    let count = unsafe ring.slotCount
    for index in 0..<count {
      let place = unsafe ring.place(index)
      let slot = unsafe place.loadWord()
      guard let fault = unsafe ring.rule.fault(of: slot, isGiven: true) else { continue }
      let buffer = fault == .badBufferIndex ? 0 : slot.buffer
      unsafe place.store(SlotWord(bufferIndex: buffer, length: 0, flags: slot.flags))
    }
    let hwcur = unsafe kring.hwcur(below: count) ?? 0
    // A damaged hwtail is replaced by the safe value: nothing received, nothing free to send.
    let hwtail = unsafe kring.hwtail(below: count) ?? hwcur
    unsafe kring.store(hwcur: hwcur)
    unsafe kring.store(hwtail: hwtail)
    unsafe kring.store(rhead: hwcur)
    unsafe kring.store(rcur: hwcur)
    unsafe kring.store(rtail: hwtail)
    // In CSB mode the cursors in the ring are the application's own.
    if unsafe !isControlled {
      unsafe ring.cur = hwcur
      unsafe ring.head = hwcur
      unsafe ring.tail = hwtail
    }
    // The slot of a partly delivered broadcast may hold a different packet from now on.
    unsafe kring.deliveredSlot = 0
    unsafe kring.count(.resets)
    return AcceptedCursors(first: hwcur, head: hwcur, tail: hwtail)
  }
}
