internal import CNetmap
internal import Synchronization

// A pipe is two pairs of rings, back to back: transmit ring i of one end is joined to receive ring i
// of the other, slot k to slot k. Both rings of a pair name the same buffers; which side may touch a
// buffer follows from the positions. Slots are copied forward when they are sent and back when they
// have been released, so a buffer swapped in on one side travels to the other. No packet is copied and
// no slot is checked: the two ends trust each other (netmap(4), "NETMAP PIPES").
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
    // A damaged segment must not become a wild copy; the checks before looked at the other indexes.
    guard first < count else { return false }
    let published = unsafe kring.published
    var wakes = false
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
    var wakes = false
    let first = unsafe kring.hwcur
    // As in the other direction: it may have been changed since it was checked.
    guard unsafe first < ring.slotCount else { return false }
    if head != first {
      let summary = unsafe copySlots(from: first, upTo: head)
      if summary.flags & UInt16(NS_BUF_CHANGED) != 0 {
        unsafe clearBufferChanged(from: first, upTo: head)
      }
    }
    unsafe kring.hwcur = head
    if unsafe kring.published != head {
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
  /// What a run of slots has in common: their flags or-ed together, and the sum of their lengths.
  private typealias Summary = (flags: UInt16, bytes: UInt64)

  /// Flags that ask for more than copying: `NS_BUF_CHANGED` and `NS_MOREFRAG`.
  private static var uncommonFlags: UInt16 { UInt16(NS_BUF_CHANGED | NS_MOREFRAG) }

  /// Copies the slots `from..<end` to the same places of the peer's ring.
  @inline(__always)
  private func copySlots(from: UInt32, upTo end: UInt32) -> Summary {
    if from <= end { return unsafe copyRun(from: from, upTo: end) }
    let high = unsafe copyRun(from: from, upTo: ring.slotCount)
    let low = unsafe copyRun(from: 0, upTo: end)
    return (high.flags | low.flags, high.bytes &+ low.bytes)
  }

  @inline(__always)
  private func copyRun(from: UInt32, upTo end: UInt32) -> Summary {
    // A slot as four words; the second one is length and flags.
    let source = unsafe UnsafeRawPointer(ring.slot(from))
      .assumingMemoryBound(to: SIMD4<UInt32>.self)
    let target = unsafe UnsafeMutableRawPointer(peerRing.slot(from))
      .assumingMemoryBound(to: SIMD4<UInt32>.self)
    let count = Int(end &- from)
    var (all, sum) = (SIMD4<UInt32>.zero, SIMD4<UInt32>.zero)
    var index = 0
    if count < 4 {
      while index < count {
        let slot = unsafe source[index]
        unsafe target[index] = slot
        all |= slot
        sum &+= slot
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
        sum &+= slot
        index &+= 1
      }
    }
    let flags = UInt16(truncatingIfNeeded: all.y >> 16)
    // Without flags the words are the lengths: 65536 of 16 bits do not overflow 32.
    guard flags != 0 else { return (0, UInt64(sum.y)) }
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
  private func copySlotsKeepingOffsets(from: UInt32, upTo end: UInt32) -> Summary {
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

extension KRing {
  /// This side's position, as it wrote it last. On a line that the other side does not read: a look at
  /// ``KRingLayout/position`` itself would fetch that line back from the other CPU.
  @inline(__always)
  package var published: UInt32 { unsafe word(KRingLayout.published) }

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
    unsafe setWord(KRingLayout.published, position)
  }

  @inline(__always)
  var outboxWaitWordIsSet: Bool {
    unsafe atomicWord(KRingLayout.waitWord).pointee.load(ordering: .sequentiallyConsistent) != 0
  }
}
