internal import CNetmap

// What a pipe does with runs of slots. Out of line, so that the path of a sync stays short.

/// What a run of slots has in common: their flags or-ed together, and the sum of their lengths.
typealias SlotSummary = (flags: UInt16, bytes: UInt64)

extension AttachedRing {
  /// Copies the slots `from..<end` to the same places of the peer's ring.
  @inline(never)
  func copySlots(from: UInt32, upTo end: UInt32) -> SlotSummary {
    if from <= end { return unsafe copyRun(from: from, upTo: end, sums: true) }
    let high = unsafe copyRun(from: from, upTo: ring.slotCount, sums: true)
    let low = unsafe copyRun(from: 0, upTo: end, sums: true)
    return (high.flags | low.flags, high.bytes &+ low.bytes)
  }

  /// The same for slots that are given back: nobody counts their bytes again.
  ///
  /// - Returns: Their flags, or-ed together.
  @inline(never)
  func returnSlots(from: UInt32, upTo end: UInt32) -> UInt16 {
    if from <= end { return unsafe copyRun(from: from, upTo: end, sums: false).flags }
    let high = unsafe copyRun(from: from, upTo: ring.slotCount, sums: false).flags
    return unsafe high | copyRun(from: 0, upTo: end, sums: false).flags
  }

  @inline(__always)
  private func copyRun(from: UInt32, upTo end: UInt32, sums: Bool) -> SlotSummary {
    // A slot as four words; the second one is length and flags.
    let source = unsafe UnsafeRawPointer(ring.slot(from))
      .assumingMemoryBound(to: SIMD4<UInt32>.self)
    let target = unsafe UnsafeMutableRawPointer(peerRing.slot(from))
      .assumingMemoryBound(to: SIMD4<UInt32>.self)
    let count = Int(end &- from)
    var (all, sum) = (SIMD4<UInt32>.zero, SIMD4<UInt32>.zero)
    var index = 0
    if count < 64 {
      while index &+ 4 <= count {
        let (a, b) = unsafe (source[index], source[index &+ 1])
        let (c, d) = unsafe (source[index &+ 2], source[index &+ 3])
        unsafe target[index] = a
        unsafe target[index &+ 1] = b
        unsafe target[index &+ 2] = c
        unsafe target[index &+ 3] = d
        all |= (a | b) | (c | d)
        if sums { sum &+= (a &+ b) &+ (c &+ d) }
        index &+= 4
      }
      while index < count {
        let slot = unsafe source[index]
        unsafe target[index] = slot
        all |= slot
        if sums { sum &+= slot }
        index &+= 1
      }
    } else {
      // The C library's copy stores as much at once as the processor can: whole cache lines, so that a
      // line that the other CPU has takes one place in the store buffer and not four.
      unsafe UnsafeMutableRawPointer(target).copyMemory(
        from: source, byteCount: count &* MemoryLayout<Slot>.size)
      while index < count {
        let slot = unsafe source[index]
        all |= slot
        if sums { sum &+= slot }
        index &+= 1
      }
    }
    let flags = UInt16(truncatingIfNeeded: all.y >> 16)
    // Without flags the words are the lengths: 65536 of 16 bits do not overflow 32.
    guard flags != 0, sums else { return (flags, UInt64(sum.y)) }
    return unsafe (flags, lengths(from: from, upTo: end))
  }

  /// The sum of the lengths of a run of slots, some of which carry flags.
  @inline(never)
  private func lengths(from: UInt32, upTo end: UInt32) -> UInt64 {
    (from..<end).reduce(0) { sum, index in unsafe sum &+ UInt64(ring.slot(index).pointee.length) }
  }

  /// The part of a transmit sync that most syncs have no need of: packets of several slots, changed
  /// buffers, and a backlog that an earlier sync could not publish.
  ///
  /// - Returns: Where the last complete packet ends, and what lies between `published` and there.
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
      let slot = unsafe peerRing.slot(index).pointee
      pending &+= UInt64(slot.length)
      index = unsafe ring.next(index)
      if !slot.flags.contains(.moreFragments) {
        result = (end: index, packets: result.packets &+ 1, bytes: result.bytes &+ pending)
        pending = 0
      }
    }
    return result
  }

  /// The mark has travelled to the peer with the slot; here it has been acted on.
  @inline(never)
  func clearBufferChanged(from: UInt32, upTo end: UInt32) {
    var index = from
    while index != end {
      unsafe ring.slot(index).pointee.flags.remove(.bufferChanged)
      index = unsafe ring.next(index)
    }
  }

  /// Copies slots one by one where offsets are in use: a receiver that reserved room in front of its
  /// packets keeps it. Where the sender's offset is smaller, the receiver's stands.
  @inline(never)
  func copySlotsKeepingOffsets(from: UInt32, upTo end: UInt32) -> SlotSummary {
    let mask = unsafe kring.offsetMask
    var flags: UInt16 = 0
    var bytes: UInt64 = 0
    var index = from
    while index != end {
      let target = unsafe peerRing.slot(index)
      var slot = unsafe ring.slot(index).pointee
      let reserved = unsafe target.pointee.pointer & mask
      if slot.pointer & mask < reserved { slot.pointer = (slot.pointer & ~mask) | reserved }
      unsafe target.pointee = slot
      flags |= slot.flags.rawValue
      bytes &+= UInt64(slot.length)
      index = unsafe ring.next(index)
    }
    return (flags, bytes)
  }
}
