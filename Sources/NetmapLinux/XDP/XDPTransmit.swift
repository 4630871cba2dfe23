internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

// Transmit: slots become descriptors, and come back in order as the kernel completes them.

extension XDPTransmit {
  /// The ring driver's function for a transmit ring; `context` is an `UnsafeMutablePointer<XDPTransmit>`.
  package static let synchronize: RingDriverFunction.Synchronize = { context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    return unsafe context.assumingMemoryBound(to: XDPTransmit.self).pointee.synchronize(
      MappedRing(calledWith: ring), upTo: head)
  }
}

extension XDPTransmit {
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  func synchronize(
    _ port: MappedRing, upTo head: UInt32
  ) -> Int32 {
    if unsafe state.isUnderWay { unsafe repair(port) }
    guard let cursors = unsafe port.cursors(of: ledger) else { return EIO }
    unsafe state.begin()
    unsafe reclaim(port)
    let published = unsafe publish(port, from: cursors.hwcur, upTo: head)
    let isThere = unsafe kick(port)
    unsafe reclaim(port)
    unsafe giveBack(port, after: cursors.hwtail, upTo: published)
    let lost = unsafe common.newLosses(state, transmit: true)
    if lost != 0 { unsafe port.kring.countDrop(.kernel, lost) }
    unsafe state.end()
    return isThere ? 0 : ENXIO
  }

  // MARK: Publishing

  /// Publishes the complete packets from `first` up to `head` as descriptors.
  ///
  /// - Returns: The new `hwcur`.
  @inline(__always)
  private func publish(
    _ port: MappedRing, from first: UInt32, upTo head: UInt32
  ) -> UInt32 {
    let (ring, kring) = unsafe (port.ring, port.kring)
    var next = first
    var position = unsafe frames.position
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    // Whether the next slots belong to a packet that was dropped.
    var isSkipping = unsafe state.committed().flag
    while next != head {
      var end = next
      var isComplete = false
      var slots = 0
      while end != head, !isComplete {
        isComplete = unsafe !ring.loadWord(end).flags.contains(.moreFragments)
        end = unsafe ring.next(end)
        slots &+= 1
      }
      if unsafe isSkipping || slots > common.longestChain {
        // The kernel takes no packet of so many slots. Drop all of it, the slots that are still to come included.
        unsafe kring.countDrop(.badLength, UInt64(slots))
        isSkipping = !isComplete
        next = end
        continue
      }
      // The rest of the packet has not been written yet: wait for it.
      guard isComplete else { break }
      // Two descriptors for each slot, at most.
      guard unsafe frames.hasRoom(for: UInt32(slots &* 2), at: position) else { break }
      if let result = unsafe publishPacket(port, from: next, to: end, at: position) {
        position = result.position
        packets &+= 1
        bytes &+= result.bytes
      }
      next = end
    }
    unsafe state.commit(position, next, isSkipping)
    unsafe frames.publish(upTo: position)
    atomicMemoryFence(ordering: .releasing)
    unsafe kring.store(hwcur: next)
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.bytes, bytes)
    return next
  }

  /// Writes the descriptors of one packet.
  ///
  /// - Returns: The position behind them and the packet's length. Nil when a slot names no buffer that may be sent,
  ///   or more bytes than can be sent; then no part of the packet is sent.
  @inline(__always)
  private func publishPacket(
    _ port: MappedRing, from first: UInt32, to end: UInt32, at start: UInt32
  ) -> (position: UInt32, bytes: UInt64)? {
    let ring = unsafe port.ring
    var position = start
    var bytes: UInt64 = 0
    var index = first
    while index != end {
      // Read the slot once, so that the values that are checked are the values that are published.
      let named = unsafe ring.load(index)
      let slot = unsafe port.lent(named, named.bufferIndex)
      let isLast = unsafe ring.next(index) == end
      let from = unsafe common.headroom &+ slot.offset
      // An offset may be beyond the buffer's chunk. Then the packet lies in the headroom of the next chunk.
      let here = unsafe min(slot.length, max(common.chunkSize &- from, 0))
      let rest = slot.length &- here
      let descriptors = here == 0 || rest == 0 ? 1 : 2
      guard slot.length > 0, unsafe rest == 0 || here == 0 || common.mayOverlap,
        unsafe Int(position &- start) &+ descriptors <= common.longestChain
      else {
        unsafe port.kring.countDrop(.badLength)
        if index != first { unsafe withdraw(port, from: first, before: index) }
        return nil
      }
      guard unsafe ledger.lendToSend(slot.buffer, at: index, common.ownership) else {
        unsafe port.kring.countDrop(.badBufferIndex)
        if index != first { unsafe withdraw(port, from: first, before: index) }
        return nil
      }
      let address = unsafe common.chunk(slot.buffer)
      // The kernel copies frame by frame. Without this prefetch it would wait for memory at each of them.
      unsafe clinux_prefetch(common.memory + (Int(address) + from))
      let more = isLast ? 0 : UInt32(CLINUX_XDP_PKT_CONTD)
      if here != 0 {
        unsafe frames.write(
          xdp_desc(
            addr: address &+ UInt64(from), len: UInt32(here),
            options: rest == 0 ? more : UInt32(CLINUX_XDP_PKT_CONTD)),
          at: position)
        position &+= 1
      }
      if rest != 0 {
        // The buffer runs on into the headroom of the chunk behind it.
        unsafe frames.write(
          xdp_desc(
            addr: address &+ UInt64(max(from, common.chunkSize)), len: UInt32(rest), options: more),
          at: position)
        position &+= 1
      }
      unsafe outstanding[index] = (here != 0 ? 1 : 0) | (rest != 0 ? 2 : 0)
      unsafe ring.place(index).store(
        flags: SlotFlags(rawValue: slot.flags.rawValue & ~sentFlags))
      bytes &+= UInt64(slot.length)
      index = unsafe ring.next(index)
    }
    return (position, bytes)
  }

  /// Takes back the buffers of a packet that is not sent after all.
  @inline(never)
  private func withdraw(_ port: MappedRing, from first: UInt32, before end: UInt32) {
    var index = first
    while index != end {
      unsafe ledger.withdrawSent(index, common.ownership)
      unsafe outstanding[index] = 0
      index = unsafe port.ring.next(index)
    }
  }

  // MARK: The kernel

  /// Calls the kernel if it sleeps and there is something to send.
  ///
  /// Where the kernel lets the budget of a call be raised, one call sends everything; elsewhere a call sends 32
  /// frames. A sync makes at most twice as many calls as 32 frames per call would take. So a process that keeps
  /// moving the cursors cannot hold the sync here. The next sync sends the rest.
  ///
  /// - Returns: False when the interface has disappeared.
  @inline(__always)
  func kick(_ port: MappedRing) -> Bool {
    var calls = unsafe max(frames.size / 16, 64)
    while calls != 0, unsafe frames.isPending() && frames.needsWakeup {
      calls &-= 1
      let before = unsafe frames.seenConsumer
      unsafe port.kring.count(.systemCalls)
      switch unsafe common.kickTransmit() {
      case .done: return true
      case .gone: return false
      case .more:
        // The kernel may need completions to be taken. If it makes no progress, leave the rest to the next sync.
        unsafe reclaim(port)
        guard unsafe frames.isPending(), unsafe frames.seenConsumer != before else { return true }
      }
    }
    return true
  }

  // MARK: Completions

  /// Records which descriptors the kernel has completed.
  @inline(__always)
  func reclaim(_ port: MappedRing) {
    var position = unsafe completions.position
    let count = unsafe completions.count(from: position)
    if count == 0 { return }
    var expected = unsafe state.expected
    if unsafe expected >= ledger.slotCount { expected = 0 }
    for _ in 0..<count {
      let address = unsafe completions.address(at: position)
      // Kernels round odd addresses down, so only the chunk counts. A descriptor that begins in the headroom was
      // the end of the packet in the buffer before.
      var buffer = unsafe common.buffer(at: address)
      let isRest = unsafe common.offset(of: address) < common.headroom
      if isRest { buffer &-= 1 }
      let bit: UInt8 = isRest ? 2 : 1
      var left = unsafe outstanding[expected]
      if unsafe ledger[expected] != buffer || left & bit == 0 {
        let found = unsafe ledger.slot(
          completing: bit, of: buffer, in: outstanding, from: expected)
        // No slot: another process has written to the ledger or to the kernel's ring.
        guard let found else {
          position &+= 1
          continue
        }
        expected = found
        left = unsafe outstanding[expected]
      }
      unsafe state.completion = .init(position: position, slot: expected, bit: bit)
      unsafe outstanding[expected] = left & ~bit
      if left == bit { expected = unsafe port.ring.next(expected) }
      position &+= 1
    }
    unsafe state.expected = expected
    unsafe completions.release(upTo: position)
  }

  /// Moves `hwtail`, in order, over the slots whose descriptors are all completed.
  ///
  /// - Parameters:
  ///   - port: The ring.
  ///   - tail: `hwtail`, as this sync has found it.
  ///   - end: `hwcur`, as this sync has left it.
  @inline(__always)
  func giveBack(_ port: MappedRing, after tail: UInt32, upTo end: UInt32) {
    let ring = unsafe port.ring
    var index = unsafe ring.next(tail)
    while index != end, unsafe outstanding[index] == 0 {
      unsafe ledger.finish(index, common.ownership)
      index = unsafe ring.next(index)
    }
    unsafe port.kring.store(hwtail: index == 0 ? ring.slotCount &- 1 : index &- 1)
  }
}
