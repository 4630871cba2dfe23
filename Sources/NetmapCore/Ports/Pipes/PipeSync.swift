internal import CNetmap
internal import Synchronization

// A pipe is two pairs of rings, back to back: transmit ring i of one end is joined to receive ring i
// of the other, slot k to slot k. Both rings of a pair name the same buffers; which side may touch a
// buffer follows from the positions. Sending copies slots forward, releasing copies them back, so a
// buffer swapped in on one side travels to the other. No packet is copied and no slot is checked:
// the two ends trust each other (netmap(4), "NETMAP PIPES").
//
// Each direction has one word for each side, the outbox `position`: the sender's says up to where
// slots have been handed over, the receiver's up to where it has given them back.
//
// The order of the stores makes a sync that is cut short harmless: indexes first, publication last.
// Whoever syncs the ring next finds `position` behind `hwcur` and publishes what is missing.

extension AttachedRing {
  /// Hands the slots up to `head` to the receiver, as far as they make complete packets.
  ///
  /// - Returns: Whether the receiver sleeps and must be woken, once the lock has been released.
  @inline(__always)
  func pipeTransmit(upTo head: UInt32) -> Bool {
    let count = unsafe ring.slotCount
    let first = unsafe kring.hwcur
    let published = unsafe kring.ownPosition
    var wakes = false
    // A damaged segment must not become a wild copy; the checks before looked at the other indexes.
    guard first < count else { return false }
    if head != first || published != first {
      let summary =
        unsafe kring.offsetMask == 0
        ? copySlots(from: first, upTo: head) : copySlotsKeepingOffsets(from: first, upTo: head)
      var end = head
      var packets = unsafe UInt64(ring.distance(from: first, to: head))
      var bytes = summary.bytes
      if unsafe summary.flags & Self.uncommonFlags != 0 || published != first {
        let complete = unsafe finishUncommonSlots(from: first, upTo: head, published: published)
        (end, packets, bytes) = (complete.end, complete.packets, complete.bytes)
      }
      unsafe kring.hwcur = head
      if end != published {
        unsafe kring.publish(position: end)
        wakes = unsafe kring.outboxWaitWordIsSet
        unsafe kring.count(.packets, packets)
        unsafe kring.count(.bytes, bytes)
      }
    }
    // The receiver's position is the first slot it still holds; the one before it is the last that
    // may be filled, as one slot of a ring always stays empty.
    let released = unsafe peerKRing.acquirePosition()
    if released < count {
      unsafe finalize(tail: released == 0 ? count &- 1 : released &- 1)
    }
    return wakes
  }

  /// Gives the slots up to `head` back to the sender, and looks for new ones.
  ///
  /// - Returns: Whether the sender sleeps and must be woken, once the lock has been released.
  @inline(__always)
  func pipeReceive(upTo head: UInt32) -> Bool {
    let published = unsafe peerKRing.acquirePosition()
    let first = unsafe kring.hwcur
    var wakes = false
    if head != first {
      let summary = unsafe copySlots(from: first, upTo: head)
      if unsafe summary.flags & Self.bufferChangedFlag != 0 {
        unsafe clearBufferChanged(from: first, upTo: head)
      }
      unsafe kring.hwcur = head
    }
    if unsafe kring.ownPosition != head {
      unsafe kring.publish(position: head)
      wakes = unsafe kring.outboxWaitWordIsSet
    }
    if unsafe published < ring.slotCount {
      unsafe finalize(tail: published)
    }
    return wakes
  }
}

extension AttachedRing {
  // Bits of a slot's first 8 bytes, which hold buffer index, length and flags.
  private static var bufferChangedFlag: UInt64 { UInt64(NS_BUF_CHANGED) << 48 }
  private static var uncommonFlags: UInt64 { UInt64(NS_BUF_CHANGED | NS_MOREFRAG) << 48 }

  /// Copies the slots `from..<end` to the same places of the peer's ring.
  ///
  /// - Returns: The first 8 bytes of all slots or-ed together, and the sum of their lengths.
  @inline(__always)
  private func copySlots(from: UInt32, upTo end: UInt32) -> (flags: UInt64, bytes: UInt64) {
    if from <= end { return unsafe copyRun(from: from, upTo: end) }
    let high = unsafe copyRun(from: from, upTo: ring.slotCount)
    let low = unsafe copyRun(from: 0, upTo: end)
    return (high.flags | low.flags, high.bytes &+ low.bytes)
  }

  @inline(__always)
  private func copyRun(from: UInt32, upTo end: UInt32) -> (flags: UInt64, bytes: UInt64) {
    let source = unsafe UnsafeRawPointer(ring.slot(from))
      .assumingMemoryBound(to: SIMD2<UInt64>.self)
    let target = unsafe UnsafeMutableRawPointer(peerRing.slot(from))
      .assumingMemoryBound(to: SIMD2<UInt64>.self)
    var flags: UInt64 = 0
    var bytes: UInt64 = 0
    for index in 0..<Int(end &- from) {
      let slot = unsafe source[index]
      unsafe target[index] = slot
      flags |= slot.x
      bytes &+= (slot.x >> 32) & 0xffff
    }
    return (flags, bytes)
  }

  /// The part of a transmit sync that most syncs have no need of: packets of several slots, changed
  /// buffers, and a backlog that an earlier sync could not publish.
  ///
  /// - Returns: Where the last complete packet ends, and what lies between `published` and there.
  @inline(never)
  private func finishUncommonSlots(
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
  private func clearBufferChanged(from: UInt32, upTo end: UInt32) {
    var index = from
    while index != end {
      unsafe ring.slot(index).pointee.flags.remove(.bufferChanged)
      index = unsafe ring.next(index)
    }
  }

  /// Copies slots one by one where offsets are in use: a receiver that reserved room in front of its
  /// packets keeps it. Where the sender's offset is smaller, the receiver's stands.
  @inline(never)
  private func copySlotsKeepingOffsets(
    from: UInt32, upTo end: UInt32
  ) -> (flags: UInt64, bytes: UInt64) {
    let mask = unsafe kring.offsetMask
    var flags: UInt64 = 0
    var bytes: UInt64 = 0
    var index = from
    while index != end {
      let target = unsafe peerRing.slot(index)
      var slot = unsafe ring.slot(index).pointee
      let reserved = unsafe target.pointee.pointer & mask
      if slot.pointer & mask < reserved { slot.pointer = (slot.pointer & ~mask) | reserved }
      unsafe target.pointee = slot
      flags |= UInt64(slot.flags.rawValue) << 48
      bytes &+= UInt64(slot.length)
      index = unsafe ring.next(index)
    }
    return (flags, bytes)
  }
}

extension KRing {
  /// This side's position, as it wrote it.
  @inline(__always)
  package var ownPosition: UInt32 { unsafe word(KRingLayout.position) }

  /// The other side's position, and with it everything it wrote before.
  @inline(__always)
  package func acquirePosition() -> UInt32 {
    unsafe atomicWord(KRingLayout.position).pointee.load(ordering: .acquiring)
  }

  /// Publishes a position. An exchange, because it is the cheapest full fence: the wait word must not
  /// be read before the position is visible.
  @inline(__always)
  func publish(position: UInt32) {
    _ = unsafe atomicWord(KRingLayout.position).pointee.exchange(
      position, ordering: .sequentiallyConsistent)
  }

  @inline(__always)
  var outboxWaitWordIsSet: Bool {
    unsafe atomicWord(KRingLayout.waitWord).pointee.load(ordering: .sequentiallyConsistent) != 0
  }
}
