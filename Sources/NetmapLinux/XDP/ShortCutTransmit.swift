internal import Glibc
package import NetmapCore
internal import Synchronization

// Transmit into a short cut (``ShortCutLane``): a sync copies each packet into buffers of the lane. The slots come back
// at once, with the buffers that they had.

extension XDPTransmit {
  /// The ring driver's function for a transmit ring that may have a short cut; `context` is an
  /// `UnsafeMutablePointer<XDPTransmit>`.
  package static let synchronizeWithLane: RingDriverFunction.Synchronize = {
    context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    return unsafe context.assumingMemoryBound(to: XDPTransmit.self).pointee.synchronizeWithLane(
      MappedRing(calledWith: ring), upTo: head)
  }

  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  private func synchronizeWithLane(_ port: MappedRing, upTo head: UInt32) -> Int32 {
    guard let lane = unsafe lane else { return unsafe synchronize(port, upTo: head) }
    if unsafe state.isUnderWay { unsafe repair(port, lane) }
    let mode = unsafe lane.mode
    guard mode == .joined || mode == .held else { return unsafe synchronize(port, upTo: head) }
    guard let cursors = unsafe port.cursors(of: ledger) else { return EIO }
    unsafe state.begin()
    // The lane is not joined before the kernel has taken everything that it was given.
    let isThere = unsafe mode == .joined || kick(port)
    unsafe reclaim(port)
    // What repair finds if this sync publishes nothing; an earlier commit may be older than frames for the kernel.
    unsafe lane.commitSent(lane.sent, cursors.hwcur, state.committed().flag)
    unsafe state.beginLane()
    let (published, room) = unsafe copy(port, into: lane, from: cursors.hwcur, upTo: head)
    unsafe giveBack(port, after: cursors.hwtail, upTo: published)
    unsafe limitTail(port, from: published, to: room, former: cursors.hwtail)
    unsafe state.end()
    return isThere ? 0 : ENXIO
  }

  /// Copies the complete packets from `first` up to `head` into the lane.
  ///
  /// - Returns: The new `hwcur`, and the cells that are still free.
  @inline(__always)
  private func copy(
    _ port: MappedRing, into lane: ShortCutLane, from first: UInt32, upTo head: UInt32
  ) -> (next: UInt32, room: UInt32) {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let start = unsafe lane.sent
    var position = start
    var room: UInt32 = 0
    if let used = unsafe lane.distance(from: lane.returned, to: start) {
      room = unsafe lane.slotCount &- used
    }
    let frameLimit = unsafe lane.frameLimit
    var next = first
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    var isSkipping = unsafe state.committed().flag
    while next != head {
      var end = next
      var isComplete = false
      var slots: UInt32 = 0
      while end != head, !isComplete {
        isComplete = unsafe !ring.loadWord(end).flags.contains(.moreFragments)
        end = unsafe ring.next(end)
        slots &+= 1
      }
      if unsafe isSkipping || slots > common.longestChain {
        // As the kernel's rings take it (``XDPTransmit/synchronize(_:upTo:)``).
        unsafe kring.countDrop(.badLength, UInt64(slots))
        isSkipping = !isComplete
        next = end
        continue
      }
      // The rest of the packet has not been written yet, or the receiver has not given enough cells back.
      guard isComplete, slots <= room else { break }
      if let copied = unsafe copyFrame(port, into: lane, at: position, next, slots, frameLimit) {
        position &+= slots
        room &-= slots
        packets &+= copied.isWhole ? 1 : 0
        bytes &+= copied.bytes
      }
      next = end
    }
    unsafe lane.commitSent(position, next, isSkipping)
    let wakes = unsafe position != start && lane.publish(sent: position)
    unsafe state.commit(frames.position, next, isSkipping)
    unsafe kring.store(hwcur: next)
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.shortCutPackets, packets)
    unsafe kring.count(.bytes, bytes)
    if wakes { unsafe wake(lane, port) }
    return (next, room)
  }

  /// Shows the application no more slots than there are free cells, as a pipe does: whatever it fills can then be copied
  /// by the next sync. Slots that it has been shown already stay.
  @inline(__always)
  private func limitTail(
    _ port: MappedRing, from next: UInt32, to room: UInt32, former: UInt32
  ) {
    let ring = unsafe port.ring
    guard let tail = unsafe port.kring.hwtail(below: ring.slotCount) else { return }
    let shown = unsafe ring.distance(from: next, to: tail)
    let kept = unsafe min(ring.distance(from: next, to: former), shown)
    let allowed = max(min(shown, room), kept)
    guard allowed < shown else { return }
    let place = next &+ allowed
    unsafe port.kring.store(hwtail: place < ring.slotCount ? place : place &- ring.slotCount)
  }

  /// Copies one packet into cells.
  ///
  /// - Returns: Nil when the packet was dropped and its cells were not used: a slot names no buffer that may be read, or
  ///   the kernel would not take a packet of this length. `isWhole` is false when the packet was dropped and its cells
  ///   go to the receiver as empty ones, because the receiver has put no buffer into one of them.
  @inline(__always)
  private func copyFrame(
    _ port: MappedRing, into lane: ShortCutLane, at first: UInt32, _ start: UInt32,
    _ count: UInt32, _ frameLimit: UInt32
  ) -> (isWhole: Bool, bytes: UInt64)? {
    let ring = unsafe port.ring
    var (index, position) = (start, first)
    var total: UInt32 = 0
    var isWhole = true
    for _ in 0..<count {
      let slot = unsafe port.readSlot(index, common.ownership)
      let here = unsafe slot.length &+ slot.offset &+ common.headroom
      guard slot.buffer != 0, slot.length > 0, unsafe common.mayOverlap || here <= common.chunkSize
      else {
        if slot.buffer != 0 { unsafe port.kring.countDrop(.badLength) }
        return nil
      }
      let target = unsafe lane.cell(position).buffer
      if unsafe target >= SlotRule.firstBuffer && target < common.ownership.count {
        unsafe copyBytes(ring, slot, to: target)
      } else {
        isWhole = false
      }
      unsafe lane.store(
        SlotWord(
          bufferIndex: target, length: UInt16(truncatingIfNeeded: slot.length),
          flags: slot.flags.intersection(.moreFragments)),
        at: position)
      total &+= UInt32(truncatingIfNeeded: slot.length)
      index = unsafe ring.next(index)
      position &+= 1
    }
    guard unsafe total >= Self.shortestFrame, total <= frameLimit else {
      unsafe port.kring.countDrop(.badLength)
      return nil
    }
    if isWhole { return (true, UInt64(total)) }
    unsafe port.kring.countDrop(.badBufferIndex)
    for place in 0..<count {
      let cell = first &+ place
      unsafe lane.store(
        SlotWord(
          bufferIndex: lane.cell(cell).buffer, length: 0, flags: SlotFlags(rawValue: 0)), at: cell)
    }
    return (false, 0)
  }

  /// Bytes of an Ethernet header: veth drops shorter frames.
  private static var shortestFrame: UInt32 { 14 }

  @inline(__always)
  private func copyBytes(_ ring: Ring, _ slot: LentSlot, to target: UInt32) {
    let room = unsafe Int(ring.bufferSize) &- slot.offset
    unsafe copyPacket(
      from: ring.buffer(slot.buffer) + slot.offset, to: ring.buffer(target), slot.length, room: room
    )
  }

  /// Wakes the sleepers of the receiver.
  // Ends in a system call, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(never)
  private func wake(_ lane: ShortCutLane, _ port: MappedRing) {
    unsafe port.kring.count(.systemCalls)
    unsafe lane.arrivalWait.wake(port.doorbells)
  }

  /// Called with the ring's lock held.
  @inline(never)
  private func repair(_ port: MappedRing, _ lane: ShortCutLane) {
    let last = unsafe lane.sentCommit
    if unsafe state.isInLane && last.position == lane.sent, unsafe last.slot < port.ring.slotCount {
      unsafe state.commit(frames.position, last.slot, last.flag)
    }
    unsafe repair(port)
    // The killed sync may have published packets, and not have woken who sleeps.
    unsafe wake(lane, port)
    unsafe state.end()
  }
}
