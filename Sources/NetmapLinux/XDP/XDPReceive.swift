internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

// Receive: a sync posts the buffers of free slots to the fill ring, and the kernel returns frames in any of these
// buffers.
//
// One slot of a netmap ring always stays empty: the slot before `hwcur`. Its buffer is not posted either. So every
// frame that the kernel delivers finds a slot, and whenever the socket is readable, a sync can take its frames.

extension XDPReceive {
  /// The ring driver's function for a receive ring; `context` is an `UnsafeMutablePointer<XDPReceive>`.
  package static let synchronize: RingDriverFunction.Synchronize = { context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    return unsafe context.assumingMemoryBound(to: XDPReceive.self).pointee.synchronize(
      MappedRing(calledWith: ring), upTo: head)
  }
}

extension XDPReceive {
  /// Posts the buffers of all slots but the last one, of a ring that has never been synced.
  package func prime(_ ring: RingPlacement) {
    let slots = unsafe ring.ring.slotCount
    var position = unsafe fill.position
    for index in 0..<slots - 1 {
      let buffer = unsafe ring.ring.place(index).loadBufferIndex()
      guard unsafe ring.ownership.lend(buffer) else { continue }
      unsafe ledger.set(index, buffer)
      unsafe ledger.enter(buffer, at: index)
      unsafe fill.write(common.chunk(buffer), at: position)
      position &+= 1
    }
    unsafe state.commit(position, 0)
    unsafe fill.publish(upTo: position)
  }

  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  func synchronize(
    _ port: MappedRing, upTo head: UInt32
  ) -> Int32 {
    if unsafe state.isUnderWay { unsafe repair(port) }
    guard let cursors = unsafe port.cursors(of: ledger) else { return EIO }
    unsafe state.begin()
    unsafe post(port, from: cursors.hwcur, upTo: head)
    unsafe take(port, at: cursors.hwtail, upTo: head)
    var isThere = true
    if unsafe fill.needsWakeup {
      unsafe port.kring.count(.systemCalls)
      isThere = unsafe common.kickReceive() == .done
    }
    let lost = unsafe common.newLosses(state, transmit: false)
    if lost != 0 { unsafe port.kring.countDrop(.kernel, lost) }
    unsafe state.end()
    return isThere ? 0 : ENXIO
  }

  /// Posts the buffers of the slots that the application has given back.
  ///
  /// The slot before `hwcur` has kept its buffer so far. It posts the buffer now, and the last slot that was given
  /// back keeps its own.
  @inline(__always)
  private func post(_ port: MappedRing, from first: UInt32, upTo head: UInt32) {
    let ring = unsafe port.ring
    guard first != head else { return }
    var position = unsafe fill.position
    let start = position
    var index = unsafe first == 0 ? ring.slotCount &- 1 : first &- 1
    let end = unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
    while index != end {
      let slot = unsafe port.lendSlot(index, common.ownership, noting: ledger.note(index))
      // A slot without a valid buffer receives nothing until the application gives it one.
      if slot.buffer != 0 {
        unsafe ledger.enter(slot.buffer, at: index)
        unsafe fill.write(common.chunk(slot.buffer), at: position)
        position &+= 1
      }
      index = unsafe ring.next(index)
    }
    unsafe state.commit(position, head)
    if position != start { unsafe fill.publish(upTo: position) }
    atomicMemoryFence(ordering: .releasing)
    unsafe port.kring.store(hwcur: head)
  }

  /// Shows the application the packets that have arrived whole.
  ///
  /// - Parameters:
  ///   - port: The ring.
  ///   - tail: `hwtail`, as this sync has found it.
  ///   - head: `hwcur`, as this sync has left it.
  @inline(__always)
  private func take(_ port: MappedRing, at tail: UInt32, upTo head: UInt32) {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let first = unsafe frames.position
    // At most as many as there are free slots.
    let reserved = unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
    var left = unsafe min(frames.count(from: first), ring.distance(from: tail, to: reserved))
    var (position, slot) = (first, tail)
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    while left != 0 {
      let count = unsafe framesOfPacket(at: position, upTo: left)
      guard count != 0 else { break }
      left &-= count
      for _ in 0..<count {
        let frame = unsafe frames.descriptor(at: position)
        unsafe show(frame, port, at: slot)
        bytes &+= UInt64(frame.len)
        position &+= 1
        slot = unsafe ring.next(slot)
      }
      packets &+= 1
    }
    if position == first { return }
    unsafe state.commit(position, slot, second: true)
    unsafe frames.release(upTo: position)
    atomicMemoryFence(ordering: .releasing)
    unsafe kring.store(hwtail: slot)
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.bytes, bytes)
  }

  /// How many entries of the receive ring the packet at `position` has; 0 when its end is not among the
  /// first `limit`.
  @inline(__always)
  private func framesOfPacket(at position: UInt32, upTo limit: UInt32) -> UInt32 {
    var count: UInt32 = 0
    while count != limit {
      let options = unsafe frames.descriptor(at: position &+ count).options
      count &+= 1
      if options & UInt32(CLINUX_XDP_PKT_CONTD) == 0 { return count }
    }
    return 0
  }

  /// Writes a slot with the buffer that the kernel filled, which need not be the one that this slot posted. From
  /// here on the buffer belongs to the application.
  @inline(__always)
  private func show(
    _ frame: xdp_desc, _ port: MappedRing, at slot: UInt32
  ) {
    var buffer = unsafe common.buffer(at: frame.addr)
    var length = frame.len
    let posted = unsafe ledger[slot]
    if posted != buffer, unsafe !exchange(buffer, posted, port, at: slot) {
      // This ring did not post the buffer, so the application must not see it. An empty packet takes its place.
      unsafe port.kring.countDrop(.badBufferIndex)
      buffer = posted
      length = 0
    }
    let offset = unsafe common.offset(of: frame.addr)
    if unsafe offset != common.headroom { unsafe move(buffer, from: offset, frame, port) }
    let hasMore = frame.options & UInt32(CLINUX_XDP_PKT_CONTD) != 0
    let shown = SlotWord(
      bufferIndex: buffer, length: UInt16(truncatingIfNeeded: length),
      flags: hasMore ? .moreFragments : SlotFlags(rawValue: 0))
    unsafe port.ring.store(shown, at: slot)
    _ = unsafe common.ownership.takeBack(buffer)
    unsafe ledger.clear(slot)
  }

  /// Exchanges two buffers in the ledger: this slot gets `buffer`, and the slot that posted `buffer` gets `mine`,
  /// the one that this slot posted.
  ///
  /// - Returns: False when no slot of the ring has posted `buffer`, and this slot does not already show it.
  @inline(never)
  private func exchange(
    _ buffer: UInt32, _ mine: UInt32, _ port: MappedRing, at slot: UInt32
  ) -> Bool {
    guard let other = unsafe ledger.slot(of: buffer), unsafe mine < ledger.bufferCount else {
      // A process that was killed may have shown this packet, in this slot, before it could commit that.
      return unsafe mine == 0 && port.ring.place(slot).loadBufferIndex() == buffer
        && common.ownership.isUsers(buffer)
    }
    unsafe state.exchange = .init(
      buffer: buffer, slot: slot, otherBuffer: mine, otherSlot: other)
    unsafe state.finishExchange(in: ledger)
    return true
  }

  /// Moves a frame to where applications look for it, when a driver or an XDP program has put it elsewhere in its
  /// chunk.
  // The compiler cannot prove that memmove(3) neither locks nor allocates.
  @_semantics("no_performance_analysis")
  @inline(never)
  private func move(
    _ buffer: UInt32, from offset: Int, _ frame: xdp_desc, _ port: MappedRing
  ) {
    guard unsafe buffer < common.ownership.count else { return }
    let chunk = unsafe common.memory + Int(common.chunk(buffer))
    let length = unsafe min(Int(frame.len), common.chunkSize &- offset)
    unsafe memmove(chunk + common.headroom, chunk + offset, length)
    unsafe port.kring.count(.moves)
  }
}
