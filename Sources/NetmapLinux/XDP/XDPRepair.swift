internal import NetmapCore

// What a sync does first that comes after one whose process was killed in the middle.
//
// The kernel's rings tell the truth: what was published to them has happened, and nothing else has.
// ``XDPStateWords/committed(second:)`` says how far the netmap ring had got with the last store to each
// of them. Buffers that were lent beyond that are taken back, and then everything is as it was before
// the killed sync, or after it.

extension XDPTransmit {
  /// Whether the cursors, which other processes can write, are in range, and the ring has the size that
  /// the ledger was made for.
  @inline(__always)
  func isSound(_ port: AttachedRing) -> Bool {
    let count = unsafe port.ring.slotCount
    return unsafe count == ledger.slotCount && port.kring.hwcur < count && port.kring.hwtail < count
  }

  /// Called with the ring's lock held.
  @inline(never)
  func repair(_ port: AttachedRing) {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let last = unsafe state.committed()
    if unsafe last.position == frames.position, unsafe last.slot < ring.slotCount {
      unsafe kring.hwcur = last.slot
    }
    guard unsafe isSound(port) else { return }
    // The slots that nothing was sent from.
    var index = unsafe kring.hwcur
    let end = unsafe ring.next(kring.hwtail)
    repeat {
      unsafe ledger.withdraw(index, common.ownership)
      unsafe outstanding[Int(index)] = 0
      index = unsafe ring.next(index)
    } while index != end
  }
}

extension XDPReceive {
  /// As ``XDPTransmit/isSound(_:)``.
  @inline(__always)
  func isSound(_ port: AttachedRing) -> Bool {
    let count = unsafe port.ring.slotCount
    return unsafe count == ledger.slotCount && port.kring.hwcur < count && port.kring.hwtail < count
  }

  /// Called with the ring's lock held.
  @inline(never)
  func repair(_ port: AttachedRing) {
    let (ring, kring) = unsafe (port.ring, port.kring)
    unsafe state.finishExchange(in: ledger)
    let posted = unsafe state.committed()
    if unsafe posted.position == fill.position, unsafe posted.slot < ring.slotCount {
      unsafe kring.hwcur = posted.slot
    }
    let taken = unsafe state.committed(second: true)
    if unsafe taken.position == frames.position, unsafe taken.slot < ring.slotCount {
      unsafe kring.hwtail = taken.slot
    }
    guard unsafe isSound(port) else { return }
    // The slots whose buffers the kernel has not been given: the one that always stays empty, and the
    // application's.
    var index = unsafe kring.hwcur
    let end = unsafe kring.hwtail
    unsafe ledger.withdraw(
      index == 0 ? ring.slotCount &- 1 : index &- 1, common.ownership)
    while index != end {
      unsafe ledger.withdraw(index, common.ownership)
      index = unsafe ring.next(index)
    }
  }
}
