internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

// Receive: a sync posts the buffers of free slots to the fill ring, in slot order, and the kernel returns frames in
// these buffers.
//
// The kernel uses the buffers in the order in which they were posted. So each slot shows the buffer that it posted, and
// a program may remember a slot's buffer. The kernel departs from this order after it has dropped a frame that had a
// buffer already, and after a slot named a buffer that could not be posted. Then slots exchange their buffers, and are
// shown with NS_BUF_CHANGED.
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
    _ = unsafe take(port, at: cursors.hwtail, upTo: head, limit: .max)
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
      let buffer = unsafe port.lendToReceive(
        index, common.ownership, noting: ledger.note(index))
      // A slot without a valid buffer receives nothing until the application gives it one.
      if buffer != 0 {
        unsafe ledger.enter(buffer, at: index)
        unsafe fill.write(common.chunk(buffer), at: position)
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
  ///   - limit: The most frames to take.
  /// - Returns: The new `hwtail`.
  @inline(__always)
  func take(_ port: MappedRing, at tail: UInt32, upTo head: UInt32, limit: UInt32) -> UInt32 {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let first = unsafe frames.position
    // At most as many as there are free slots.
    let reserved = unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
    var left = unsafe min(
      min(frames.count(from: first), limit), ring.distance(from: tail, to: reserved))
    var (position, slot) = (first, tail)
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    let hasOffsets = unsafe kring.offsetMask != 0
    while left != 0 {
      let count = unsafe framesOfPacket(at: position, upTo: left)
      guard count != 0 else { break }
      left &-= count
      var limit = UInt32.max
      if hasOffsets { limit = unsafe lengthLimit(ofPacketAt: position, count, port) }
      for _ in 0..<count {
        let frame = unsafe frames.descriptor(at: position)
        unsafe show(frame, port, at: slot, hasOffsets, limit)
        bytes &+= UInt64(frame.len)
        position &+= 1
        slot = unsafe ring.next(slot)
      }
      packets &+= 1
    }
    if position == first { return tail }
    unsafe state.commit(position, slot, second: true)
    unsafe frames.release(upTo: position)
    atomicMemoryFence(ordering: .releasing)
    unsafe kring.store(hwtail: slot)
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.bytes, bytes)
    return slot
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
  ///
  /// - Parameters:
  ///   - frame: The frame.
  ///   - port: The ring.
  ///   - slot: The slot.
  ///   - hasOffsets: Whether the slot says where in its buffer it wants the frame.
  ///   - limit: The most bytes to show.
  @inline(__always)
  private func show(
    _ frame: xdp_desc, _ port: MappedRing, at slot: UInt32, _ hasOffsets: Bool, _ limit: UInt32
  ) {
    var buffer = unsafe common.buffer(at: frame.addr)
    var length = min(frame.len, limit)
    let posted = unsafe ledger[slot]
    if posted != buffer, unsafe !exchange(buffer, posted, port, at: slot) {
      // This ring did not post the buffer, so the application must not see it. An empty packet takes its place.
      unsafe port.kring.countDrop(.badBufferIndex)
      buffer = posted
      length = 0
    }
    let offset = unsafe common.offset(of: frame.addr)
    if unsafe hasOffsets || offset != common.headroom {
      unsafe move(buffer, from: offset, UInt32(length), port, at: slot)
    }
    let hasMore = frame.options & UInt32(CLINUX_XDP_PKT_CONTD) != 0
    var flags = hasMore ? SlotFlags.moreFragments.rawValue : 0
    // Compared with the slot, because the program has seen the slot: an earlier exchange may have given it this buffer.
    if unsafe port.ring.place(slot).loadBufferIndex() != buffer {
      flags |= SlotFlags.bufferChanged.rawValue
    }
    let shown = SlotWord(
      bufferIndex: buffer, length: UInt16(truncatingIfNeeded: length),
      flags: SlotFlags(rawValue: flags))
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
        && common.ownership.hasNoWriter(buffer)
    }
    unsafe state.exchange = .init(
      buffer: buffer, slot: slot, otherBuffer: mine, otherSlot: other)
    unsafe state.finishExchange(in: ledger)
    return true
  }

  /// The most bytes to show of each frame of a packet in a ring with offsets: no limit if every frame fits its slot
  /// (``KRing/receiveRoom(_:)``), or else 0, with a count.
  @inline(never)
  private func lengthLimit(
    ofPacketAt first: UInt32, _ count: UInt32, _ port: MappedRing
  ) -> UInt32 {
    var room = unsafe port.kring.receiveRoom(port.ring.rule)
    // Behind the buffer's chunk, a driver without copying may write at any time.
    if unsafe !common.mayOverlap {
      let largest = unsafe Int(port.ring.bufferSize) &- port.kring.largestOffset(port.ring.rule)
      let behind = unsafe Int(port.ring.bufferSize) &- common.chunkSize &+ common.headroom
      room = min(room, max(largest &- behind, 0))
    }
    for part in 0..<count {
      guard unsafe Int(frames.descriptor(at: first &+ part).len) <= room else {
        unsafe port.kring.countDrop(.badLength)
        return 0
      }
    }
    return .max
  }

  /// Moves a frame to where the application looks for it: to the slot's offset, or to the beginning of the buffer when
  /// a driver or an XDP program has put it elsewhere in its chunk.
  // The compiler cannot prove that memmove(3) neither locks nor allocates.
  @_semantics("no_performance_analysis")
  @inline(never)
  func move(
    _ buffer: UInt32, from offset: Int, _ length: UInt32, _ port: MappedRing, at slot: UInt32
  ) {
    guard unsafe buffer < common.ownership.count else { return }
    let target = unsafe common.headroom &+ port.settleOffset(slot)
    guard offset != target, length != 0 else { return }
    let chunk = unsafe common.memory + Int(common.chunk(buffer))
    let end = unsafe Int(port.ring.bufferSize) &+ common.headroom
    let bytes = unsafe min(min(Int(length), common.chunkSize &- offset), max(end &- target, 0))
    unsafe memmove(chunk + target, chunk + offset, bytes)
    unsafe port.kring.count(.moves)
  }
}
