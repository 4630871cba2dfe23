internal import NetmapCore

// The repair that a sync begins with when the process of the former sync was killed in the middle of it.
//
// The kernel's rings are the truth: entries that were published to them have taken effect, and nothing else has.
// ``XDPStateWords/committed(second:)`` says how far the netmap ring had got with the last store to each of them.
// Repair takes back the buffers that were lent beyond that. Then the ring is in the state before the killed sync,
// or in the state after it.

/// How far former syncs had got with a ring at the beginning of a sync. Both are slots of the ring.
struct XDPCursors {
  let hwcur: UInt32
  let hwtail: UInt32
}

extension MappedRing {
  /// The cursors, which other processes can write, each loaded once; nil when one is out of range, or the
  /// ring does not have the size that the ledger was made for.
  @inline(__always)
  func cursors(of ledger: XDPLedger) -> XDPCursors? {
    let count = unsafe ring.slotCount
    guard unsafe count == ledger.slotCount, let hwcur = unsafe kring.hwcur(below: count),
      let hwtail = unsafe kring.hwtail(below: count)
    else { return nil }
    return XDPCursors(hwcur: hwcur, hwtail: hwtail)
  }
}

extension XDPTransmit {
  /// Called with the ring's lock held.
  @inline(never)
  func repair(_ port: MappedRing) {
    let ring = unsafe port.ring
    unsafe finishCompletion()
    let last = unsafe state.committed()
    if unsafe last.position == frames.position, unsafe last.slot < ring.slotCount {
      unsafe port.kring.store(hwcur: last.slot)
    }
    guard let cursors = unsafe port.cursors(of: ledger) else { return }
    // The slots whose buffers were not published.
    var index = cursors.hwcur
    let end = unsafe ring.next(cursors.hwtail)
    repeat {
      unsafe ledger.withdrawSent(index, common.ownership)
      unsafe outstanding[index] = 0
      index = unsafe ring.next(index)
    } while index != end
  }

  /// Repeats the last completion that the killed sync has written down, if it has not released it. The completions
  /// before that one are done.
  private func finishCompletion() {
    let (last, first) = unsafe (state.completion, completions.position)
    guard last.bit != 0, unsafe last.position &- first < completions.count(from: first) else {
      return
    }
    if unsafe last.slot < ledger.slotCount {
      unsafe outstanding[last.slot] = outstanding[last.slot] & ~last.bit
    }
    unsafe completions.release(upTo: last.position &+ 1)
  }
}

extension XDPReceive {
  /// Called with the ring's lock held.
  @inline(never)
  func repair(_ port: MappedRing) {
    let ring = unsafe port.ring
    unsafe state.finishExchange(in: ledger)
    let posted = unsafe state.committed()
    if unsafe posted.position == fill.position, unsafe posted.slot < ring.slotCount {
      unsafe port.kring.store(hwcur: posted.slot)
    }
    let taken = unsafe state.committed(second: true)
    if unsafe taken.position == frames.position, unsafe taken.slot < ring.slotCount {
      unsafe port.kring.store(hwtail: taken.slot)
    }
    guard let cursors = unsafe port.cursors(of: ledger) else { return }
    // The slots whose buffers the kernel does not have: the slot that always stays empty, and the application's
    // slots.
    var index = cursors.hwcur
    unsafe ledger.withdraw(
      index == 0 ? ring.slotCount &- 1 : index &- 1, common.ownership)
    while index != cursors.hwtail {
      unsafe ledger.withdraw(index, common.ownership)
      index = unsafe ring.next(index)
    }
  }
}
