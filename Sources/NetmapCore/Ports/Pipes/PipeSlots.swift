internal import CNetmap

// Slot operations of a pipe. They are out of line so that the sync path stays short.

extension MappedRing {
  /// Copies the slots `from..<end`, which may wrap, to the same positions of the peer's ring.
  @inline(never)
  func copySlots(from: UInt32, upTo end: UInt32) -> SlotSummary {
    if from <= end { return unsafe ring.copyRun(from: from, upTo: end, to: peerRing, sums: true) }
    let high = unsafe ring.copyRun(
      from: from, upTo: ring.slotCount, to: peerRing, sums: true)
    let low = unsafe ring.copyRun(from: 0, upTo: end, to: peerRing, sums: true)
    return (high.flags | low.flags, high.bytes &+ low.bytes)
  }

  /// Returns slots to the sender: copies them like ``copySlots(from:upTo:)``, without summing their bytes again.
  ///
  /// - Returns: The flags of the slots, or-ed together.
  @inline(never)
  func returnSlots(from: UInt32, upTo end: UInt32) -> UInt16 {
    if from <= end {
      return unsafe ring.copyRun(from: from, upTo: end, to: peerRing, sums: false).flags
    }
    let high = unsafe ring.copyRun(
      from: from, upTo: ring.slotCount, to: peerRing, sums: false
    ).flags
    return unsafe high | ring.copyRun(from: 0, upTo: end, to: peerRing, sums: false).flags
  }

  /// Handles the uncommon slots of a transmit sync: packets of several slots, changed buffers, and slots that an
  /// earlier sync could not publish.
  ///
  /// - Returns: The end of the last complete packet, and the packets and bytes between `published` and there.
  @inline(never)
  func finishUncommonSlots(
    from first: UInt32, upTo head: UInt32, published: UInt32
  ) -> (end: UInt32, packets: UInt64, bytes: UInt64) {
    unsafe clearBufferChanged(from: first, upTo: head)
    var result = (end: published, packets: UInt64(0), bytes: UInt64(0))
    guard unsafe published < ring.slotCount else { return result }
    var pending: UInt64 = 0
    var index = published
    while index != head {
      let slot = unsafe peerRing.loadWord(index)
      pending &+= slot.length
      index = unsafe ring.next(index)
      if !slot.flags.contains(.moreFragments) {
        result = (end: index, packets: result.packets &+ 1, bytes: result.bytes &+ pending)
        pending = 0
      }
    }
    return result
  }

  /// Clears `NS_BUF_CHANGED`: the copy of the slot carried the flag to the peer, and this side needs it no
  /// longer.
  @inline(never)
  func clearBufferChanged(from: UInt32, upTo end: UInt32) {
    var index = from
    while index != end {
      let place = unsafe ring.place(index)
      unsafe place.store(flags: place.loadWord().flags.subtracting(.bufferChanged))
      index = unsafe ring.next(index)
    }
  }

  /// Copies slots one by one when offsets are in use.
  ///
  /// A receiver that reserved room in front of its packets keeps it: if the sender's offset is smaller, the
  /// receiver's offset stays.
  @inline(never)
  func copySlotsKeepingOffsets(from: UInt32, upTo end: UInt32) -> SlotSummary {
    let mask = unsafe kring.offsetMask
    var flags: UInt16 = 0
    var bytes: UInt64 = 0
    var index = from
    while index != end {
      let target = unsafe peerRing.place(index)
      var slot = unsafe ring.load(index)
      let reserved = unsafe target.loadPointer() & mask
      if slot.pointer & mask < reserved { slot.pointer = (slot.pointer & ~mask) | reserved }
      unsafe target.store(slot)
      flags |= slot.flags.rawValue
      bytes &+= UInt64(slot.length)
      index = unsafe ring.next(index)
    }
    return (flags, bytes)
  }
}
