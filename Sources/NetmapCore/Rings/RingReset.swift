/// What happens to a ring whose application has broken it, and to no other (`netmap_ring_reinit`).
extension AttachedRing {
  /// Puts `head`, `cur` and `tail` back to where the engine is, and clears slots that name no buffer
  /// or more bytes than a buffer has.
  ///
  /// Upstream leaves cursors that are in range but illegal where they are, and takes them as its new
  /// reference; here every violation ends in the same, sound state.
  ///
  /// - Returns: What the ring was put back to, as a sync goes on with it: a peer may write other cursors at any
  ///   time, and those are checked by the next sync.
  @inline(never)
  @discardableResult
  func reset() -> AcceptedCursors {
    let ring = unsafe ring
    let count = unsafe ring.slotCount
    for index in 0..<count {
      let place = unsafe ring.place(index)
      let slot = unsafe place.loadWord()
      if unsafe !ring.hasBuffer(slot.buffer) {
        unsafe place.store(SlotWord(bufferIndex: 0, length: 0, flags: slot.flags))
      } else if unsafe slot.length > UInt64(ring.bufferSize) {
        unsafe place.store(length: 0, flags: slot.flags)
      }
    }
    let hwcur = unsafe kring.hwcur(below: count) ?? 0
    // A damaged hwtail becomes the one that is safe: nothing received, nothing free to send.
    let hwtail = unsafe kring.hwtail(below: count) ?? hwcur
    unsafe kring.store(hwcur: hwcur)
    unsafe kring.store(hwtail: hwtail)
    unsafe kring.store(rhead: hwcur)
    unsafe kring.store(rcur: hwcur)
    unsafe kring.store(rtail: hwtail)
    unsafe ring.cur = hwcur
    unsafe ring.head = hwcur
    unsafe ring.tail = hwtail
    // The packet that some receivers of a broadcast have got may be another one from now on.
    unsafe kring.deliveredSlot = 0
    unsafe kring.count(.resets)
    return AcceptedCursors(first: hwcur, head: hwcur, tail: hwtail)
  }
}
