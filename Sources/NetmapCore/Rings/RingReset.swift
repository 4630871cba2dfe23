/// What happens to a ring whose application has broken it, and to no other (`netmap_ring_reinit`).
extension AttachedRing {
  /// Puts `head`, `cur` and `tail` back to where the engine is, and clears slots that name no buffer
  /// or more bytes than a buffer has.
  ///
  /// Upstream leaves cursors that are in range but illegal where they are, and takes them as its new
  /// reference; here every violation ends in the same, sound state.
  @inline(never)
  func reset() {
    let count = unsafe ring.slotCount
    for index in 0..<count {
      let slot = unsafe ring.slot(index)
      let (buffer, length) = unsafe (slot.pointee.bufferIndex, slot.pointee.length)
      if unsafe buffer < 2 || buffer >= ring.bufferCount {
        unsafe slot.pointee.bufferIndex = 0
        unsafe slot.pointee.length = 0
      } else if unsafe UInt32(length) > ring.bufferSize {
        unsafe slot.pointee.length = 0
      }
    }
    let hwcur = unsafe kring.hwcur < count ? kring.hwcur : 0
    // A damaged hwtail becomes the one that is safe: nothing received, nothing free to send.
    let hwtail = unsafe kring.hwtail < count ? kring.hwtail : hwcur
    unsafe kring.hwcur = hwcur
    unsafe kring.hwtail = hwtail
    unsafe kring.rhead = hwcur
    unsafe kring.rcur = hwcur
    unsafe kring.rtail = hwtail
    unsafe ring.cur = hwcur
    unsafe ring.head = hwcur
    unsafe ring.tail = hwtail
    // The packet that some receivers of a broadcast have got may be another one from now on.
    unsafe kring.setWord(KRingLayout.deliveredSlot, 0)
    unsafe kring.count(.resets)
  }
}
