internal import CNetmap

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
  /// A transmit sync of a pipe: see ``synchronizeTransmit(_:)``.
  @inline(__always)
  func synchronizePipeTransmit() -> SyncResult {
    let side = unsafe PipeSide(parts)
    guard unsafe side.kring.tryLock(tag) else {
      unsafe kring.count(.busySyncs)
      return .busy
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

  /// A receive sync of a pipe.
  @inline(__always)
  func synchronizePipeReceive() -> SyncResult {
    let side = unsafe PipeSide(parts)
    guard unsafe side.kring.tryLock(tag) else {
      unsafe kring.count(.busySyncs)
      return .busy
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
    // Here, because the processor reads its cycle counter while it waits for the peer's cache line.
    unsafe stamp(side.ring)
    let wakes = unsafe side.receive(from: accepted.first, upTo: accepted.head, published: published)
    unsafe side.kring.unlock()
    if wakes { unsafe wakePeer() }
    return result
  }

  @inline(never)
  private func resetAndUnlock() -> SyncResult {
    unsafe reset()
    unsafe kring.unlock()
    return .reset
  }
}

/// One ring of a pipe during a sync.
///
/// Copies of what every step uses, which the compiler keeps in registers. Through the pointer that an
/// ``AttachedRing`` is, it would load them anew after each store to shared memory. What is out of line
/// belongs to the ``AttachedRing``: a call with this struct would have it written to the stack.
@unsafe
private struct PipeSide {
  let whole: AttachedRing
  let ring: Ring
  let kring: KRing
  let peerRing: Ring
  let peerKRing: KRing

  /// Flags that ask for more than copying.
  private static var uncommonFlags: UInt16 { UInt16(NS_BUF_CHANGED | NS_MOREFRAG) }

  @inline(__always)
  init(_ parts: UnsafePointer<RingParts>) {
    unsafe whole = AttachedRing(parts)
    unsafe ring = parts.pointee.ring
    unsafe kring = parts.pointee.kring
    unsafe peerRing = parts.pointee.peerRing
    unsafe peerKRing = parts.pointee.peerKRing
  }

  /// Hands the slots up to `head` to the receiver, as far as they make complete packets.
  ///
  /// - Returns: Whether the receiver sleeps and must be woken, once the lock has been released.
  @inline(__always)
  func transmit(upTo head: UInt32) -> Bool {
    let count = unsafe ring.slotCount
    // A damaged segment must not become a wild copy; the checks before looked at the other indexes.
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
    // The receiver's position is the first slot it still holds; the one before it is the last that
    // may be filled, as one slot of a ring always stays empty.
    if let released = unsafe peerKRing.acquirePosition(below: count) {
      unsafe kring.show(tail: released == 0 ? count &- 1 : released &- 1, in: ring)
    }
    return wakes
  }

  /// Gives the slots `first..<head` back to the sender, and shows those up to `published`.
  ///
  /// - Parameters:
  ///   - first: Where the window of the application began when it was checked.
  ///   - head: Where it begins now.
  ///   - published: The sender's position, not checked.
  /// - Returns: Whether the sender sleeps and must be woken, once the lock has been released.
  @inline(__always)
  func receive(from first: UInt32, upTo head: UInt32, published: UInt32) -> Bool {
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
      unsafe kring.show(tail: published, in: ring)
    }
    return wakes
  }

  /// Copies the slots `from..<end`, at least one, to the same places of the peer's ring.
  @inline(__always)
  private func copySlots(from: UInt32, upTo end: UInt32) -> SlotSummary {
    unsafe end == from &+ 1
      ? ring.copyFilledSlot(from, to: peerRing) : whole.copySlots(from: from, upTo: end)
  }
}
