internal import CNetmap

// A pipe is two pairs of rings: transmit ring i of one end is connected to receive ring i of the other end, slot
// k to slot k. Both rings of a pair name the same buffers; the positions determine which side may touch a buffer.
// A sync copies slots forward when the sender sends them and back when the receiver releases them, so a buffer
// that one side swaps in reaches the other side. A sync copies no packet and checks no slot: the two ends trust
// each other (netmap(4), "NETMAP PIPES").
//
// Each direction has one word for each side, the outbox `position`: the sender's position is the end of the slots
// that it has handed over, the receiver's position is the end of the slots that it has returned.
//
// The order of the stores makes an interrupted sync harmless: indexes first, publication last. The next sync of
// the ring finds `position` behind `hwcur` and publishes the missing slots.

extension MappedRing {
  /// Transmit sync of a pipe: see ``synchronizeTransmit(_:)``.
  @inline(__always)
  func synchronizePipeTransmit() -> SyncResult {
    let side = unsafe PipeSide(parts)
    guard unsafe side.kring.tryLock(tag) else {
      return unsafe synchronizeMonitoredPipeTransmit()
    }
    guard let accepted = unsafe side.kring.acceptTransmit(side.ring) else {
      return unsafe resetAndUnlock()
    }
    unsafe side.kring.count(.syncs)
    let wakes = unsafe side.transmit(upTo: accepted.head)
    unsafe side.kring.unlock()
    if wakes { unsafe wakePeer() }
    return .done
  }

  /// Receive sync of a pipe: see ``synchronizeReceive(_:)``.
  @inline(__always)
  func synchronizePipeReceive() -> SyncResult {
    let side = unsafe PipeSide(parts)
    guard unsafe side.kring.tryLock(tag) else {
      return unsafe synchronizeMonitoredPipeReceive()
    }
    var result = SyncResult.done
    let accepted: AcceptedCursors
    if let checked = unsafe side.kring.acceptReceive(side.ring) {
      accepted = checked
    } else {
      accepted = unsafe reset()
      result = .reset
    }
    unsafe side.kring.count(.syncs)
    let published = unsafe side.peerKRing.acquirePosition()
    // Stamp here: the processor reads its cycle counter while it waits for the peer's cache line.
    unsafe stamp(side.ring)
    let wakes = unsafe side.receive(from: accepted.first, upTo: accepted.head, published: published)
    unsafe side.kring.unlock()
    if wakes { unsafe wakePeer() }
    return result
  }

  /// Transmit sync of a pipe whose ring may have monitors. See ``beginMonitored()``.
  @inline(never)
  private func synchronizeMonitoredPipeTransmit() -> SyncResult {
    guard unsafe beginMonitored() else { return .busy }
    guard let accepted = unsafe kring.acceptTransmit(ring) else {
      unsafe reset()
      unsafe endMonitored()
      return .reset
    }
    let (_, wakes) = unsafe moveMonitored(accepted, SyncFlags(rawValue: 0))
    unsafe endMonitored()
    if wakes { unsafe wakePeer() }
    return .done
  }

  /// Receive sync of a pipe whose ring may have monitors. See ``beginMonitored()``.
  @inline(never)
  private func synchronizeMonitoredPipeReceive() -> SyncResult {
    guard unsafe beginMonitored() else { return .busy }
    let (accepted, result) = unsafe acceptOrReset()
    let (_, wakes) = unsafe moveMonitored(accepted, SyncFlags(rawValue: 0))
    unsafe stamp(ring)
    unsafe endMonitored()
    if wakes { unsafe wakePeer() }
    return result
  }

  /// The part of a transmit sync of a pipe whose ring has monitors, without showing the application its free slots.
  ///
  /// - Parameter head: The end of the slots to hand over.
  /// - Returns: Whether the receiver sleeps, and the end of the free slots, if the receiver's position is in range.
  func handOverMonitored(upTo head: UInt32) -> (wakes: Bool, tail: UInt32?) {
    let side = unsafe PipeSide(parts)
    unsafe kring.count(.syncs)
    return unsafe (side.handOver(upTo: head), side.freeTail)
  }

  /// The part of a sync of a pipe's ring in CSB mode between taking the ring's lock and releasing it.
  ///
  /// - Returns: Whether the other end sleeps; the caller must wake it after it releases the lock.
  func movePipeSlots(_ accepted: AcceptedCursors) -> Bool {
    let side = unsafe PipeSide(parts)
    unsafe kring.count(.syncs)
    switch unsafe direction {
    case .transmit: return unsafe side.transmit(upTo: accepted.head, showsTail: false)
    case .receive:
      return unsafe side.receive(
        from: accepted.first, upTo: accepted.head, published: side.peerKRing.acquirePosition(),
        showsTail: false)
    }
  }

  @inline(never)
  private func resetAndUnlock() -> SyncResult {
    unsafe reset()
    unsafe kring.unlock()
    return .reset
  }
}

/// A ring of a pipe during a sync.
///
/// It holds copies of the values that every step uses, so that the compiler keeps them in registers. Through the
/// pointer of an ``MappedRing``, the compiler would reload them after each store to shared memory. Functions
/// that are not inlined belong to ``MappedRing``: passing this struct to a call would write it to the stack.
@unsafe
private struct PipeSide {
  let whole: MappedRing
  let ring: Ring
  let kring: KRing
  let peerRing: Ring
  let peerKRing: KRing

  /// The flags of slots that need more than a copy.
  private static var uncommonFlags: UInt16 { UInt16(NS_BUF_CHANGED | NS_MOREFRAG) }

  @inline(__always)
  init(_ parts: UnsafePointer<RingParts>) {
    unsafe whole = MappedRing(parts)
    unsafe ring = parts.pointee.ring
    unsafe kring = parts.pointee.kring
    unsafe peerRing = parts.pointee.peerRing
    unsafe peerKRing = parts.pointee.peerKRing
  }

  /// Hands complete packets in the slots up to `head` to the receiver.
  ///
  /// - Parameters:
  ///   - head: The end of the slots to hand over.
  ///   - showsTail: Whether the application reads the end of its slots in the ring. A constant wherever this is inlined.
  /// - Returns: Whether the receiver sleeps; the caller must wake it after it releases the lock.
  @inline(__always)
  func transmit(upTo head: UInt32, showsTail: Bool = true) -> Bool {
    let wakes = unsafe handOver(upTo: head)
    if let tail = unsafe freeTail { unsafe show(tail: tail, showsTail) }
    return wakes
  }

  /// ``transmit(upTo:showsTail:)`` without showing the application its free slots.
  @inline(__always)
  func handOver(upTo head: UInt32) -> Bool {
    let count = unsafe ring.slotCount
    // A damaged segment must not cause a copy outside the ring; the earlier checks covered the other indexes.
    guard let first = unsafe kring.hwcur(below: count) else { return false }
    let published = unsafe kring.published
    var wakes = false
    if head != first || published != first {
      let summary =
        unsafe kring.offsetMask == 0
        ? copySlots(from: first, upTo: head)
        : whole.copySlotsKeepingOffsets(from: first, upTo: head)
      var end = head
      var packets = unsafe UInt64(ring.distance(from: first, to: head))
      var bytes = summary.bytes
      if unsafe summary.flags & Self.uncommonFlags != 0 || published != first {
        let complete = unsafe whole.finishUncommonSlots(
          from: first, upTo: head, published: published)
        (end, packets, bytes) = (complete.end, complete.packets, complete.bytes)
      }
      unsafe kring.store(hwcur: head)
      if end != published {
        unsafe kring.publish(position: end)
        wakes = unsafe kring.outboxWaitWordIsSet
        unsafe kring.count(.packets, packets)
        unsafe kring.count(.bytes, bytes)
      }
    }
    return wakes
  }

  /// The end of the sender's free slots; nil when the receiver's position is out of range.
  ///
  /// The receiver's position is the first slot that it still holds. The sender may fill slots up to, not including, the slot
  /// before it, because one slot of a ring always stays empty.
  @inline(__always)
  var freeTail: UInt32? {
    let count = unsafe ring.slotCount
    guard let released = unsafe peerKRing.acquirePosition(below: count) else { return nil }
    return released == 0 ? count &- 1 : released &- 1
  }

  /// Returns the slots `first..<head` to the sender, and shows the application the slots up to `published`.
  ///
  /// - Parameters:
  ///   - first: The start of the application's window, as the sync validated it.
  ///   - head: The new start of the window.
  ///   - published: The sender's position, not validated.
  ///   - showsTail: Whether the application reads the end of its slots in the ring. A constant wherever this is inlined.
  /// - Returns: Whether the sender sleeps; the caller must wake it after it releases the lock.
  @inline(__always)
  func receive(
    from first: UInt32, upTo head: UInt32, published: UInt32, showsTail: Bool = true
  ) -> Bool {
    var wakes = false
    if head != first {
      let flags =
        unsafe head == first &+ 1
        ? ring.copySlot(first, to: peerRing) : whole.returnSlots(from: first, upTo: head)
      if flags & UInt16(NS_BUF_CHANGED) != 0 {
        unsafe whole.clearBufferChanged(from: first, upTo: head)
      }
    }
    unsafe kring.store(hwcur: head)
    if unsafe kring.published != head {
      unsafe kring.publish(position: head)
      wakes = unsafe kring.outboxWaitWordIsSet
    }
    if unsafe published < ring.slotCount {
      unsafe show(tail: published, showsTail)
    }
    return wakes
  }

  @inline(__always)
  private func show(tail: UInt32, _ showsTail: Bool) {
    if showsTail {
      unsafe kring.show(tail: tail, in: ring)
    } else {
      unsafe whole.finalize(tail: tail)
    }
  }

  /// Copies the slots `from..<end`, at least one, to the same positions of the peer's ring.
  @inline(__always)
  private func copySlots(from: UInt32, upTo end: UInt32) -> SlotSummary {
    unsafe end == from &+ 1
      ? ring.copyFilledSlot(from, to: peerRing) : whole.copySlots(from: from, upTo: end)
  }
}
