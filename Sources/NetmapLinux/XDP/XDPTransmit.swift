internal import CLinux
internal import Glibc
package import NetmapCore

// Transmit: slots become descriptors, and come back in order as the kernel completes them.

extension XDPPair {
  /// The data half of a transmit ring; `context` is an `UnsafeMutablePointer<XDPPair>`.
  package static let synchronizeTransmit: BackendRing.Synchronize = { context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    let pair = unsafe context.assumingMemoryBound(to: XDPPair.self)
    return unsafe pair.pointee.transmit.synchronize(
      AttachedRing(calledWith: ring), upTo: head, pair.pointee.common)
  }
}

extension XDPPair.Transmit {
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  mutating func synchronize(
    _ port: AttachedRing, upTo head: UInt32, _ common: XDPPair.Common
  ) -> Int32 {
    unsafe reclaim(port, common)
    unsafe publish(port, upTo: head, common)
    let isThere = unsafe kick(port, common)
    unsafe reclaim(port, common)
    unsafe giveBack(port, common)
    let lost = unsafe common.newLosses(&statistics, transmit: true)
    if lost != 0 { unsafe port.kring.countDrop(.kernel, lost) }
    return isThere ? 0 : ENXIO
  }

  // MARK: Publishing

  /// Makes descriptors of the packets from `hwcur` up to `head` that are complete.
  @inline(__always)
  private mutating func publish(
    _ port: AttachedRing, upTo head: UInt32, _ common: XDPPair.Common
  ) {
    let (ring, kring) = unsafe (port.ring, port.kring)
    var next = unsafe kring.hwcur
    var position = unsafe frames.position
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    while next != head {
      var end = next
      var isComplete = false
      var slots = 0
      while end != head, !isComplete {
        isComplete = unsafe !ring.slot(end).pointee.flags.contains(.moreFragments)
        end = unsafe ring.next(end)
        slots &+= 1
      }
      if unsafe isSkipping || slots > common.longestChain {
        // Nobody takes a packet of so many parts: all of it goes, also what is still to come.
        unsafe kring.countDrop(.badLength, UInt64(slots))
        unsafe isSkipping = !isComplete
        next = end
        continue
      }
      // The rest of the packet has not been written yet: wait for it.
      guard isComplete else { break }
      // Two descriptors for each slot, at most.
      guard unsafe frames.hasRoom(for: UInt32(slots &* 2), at: position) else { break }
      if let result = unsafe publishPacket(port, from: next, to: end, at: position, common) {
        position = result.position
        packets &+= 1
        bytes &+= result.bytes
      }
      next = end
    }
    unsafe kring.hwcur = next
    unsafe frames.publish(upTo: position)
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.bytes, bytes)
  }

  /// Writes the descriptors of one packet.
  ///
  /// - Returns: The position behind them and the packet's length; nil when a slot of it names no buffer
  ///   that may be sent, or more bytes than can be: then no part of it is sent.
  @inline(__always)
  private mutating func publishPacket(
    _ port: AttachedRing, from first: UInt32, to end: UInt32, at start: UInt32,
    _ common: XDPPair.Common
  ) -> (position: UInt32, bytes: UInt64)? {
    let ring = unsafe port.ring
    var position = start
    var bytes: UInt64 = 0
    var index = first
    while index != end {
      // The slot is read once; what is checked is what is published.
      let slot = unsafe port.lendSlot(index, common.ownership)
      let isLast = unsafe ring.next(index) == end
      if slot.buffer != 0 { unsafe ledger.enter(slot.buffer, at: index) }
      let from = headroom &+ slot.offset
      let here = unsafe min(slot.length, common.chunkSize &- from)
      let rest = slot.length &- here
      let descriptors = rest == 0 ? 1 : 2
      guard slot.buffer != 0, here > 0, unsafe rest == 0 || common.mayOverlap,
        unsafe Int(position &- start) &+ descriptors <= common.longestChain
      else {
        if slot.buffer != 0 { unsafe port.kring.countDrop(.badLength) }
        unsafe withdraw(port, from: first, through: index, common)
        return nil
      }
      let address = unsafe common.chunk(slot.buffer)
      // Copying it, the kernel would wait for memory frame by frame, were it not in a cache.
      unsafe clinux_prefetch(common.memory + (Int(address) + from))
      let more = isLast ? 0 : UInt32(CLINUX_XDP_PKT_CONTD)
      unsafe frames.write(
        xdp_desc(
          addr: address &+ UInt64(from), len: UInt32(here),
          options: rest == 0 ? more : UInt32(CLINUX_XDP_PKT_CONTD)),
        at: position)
      position &+= 1
      if rest != 0 {
        // A buffer runs on into the headroom of the chunk behind it.
        unsafe frames.write(
          xdp_desc(
            addr: address &+ UInt64(common.chunkSize), len: UInt32(rest), options: more),
          at: position)
        position &+= 1
      }
      unsafe outstanding[Int(index)] = UInt8(descriptors)
      unsafe ring.slot(index).pointee.flags = SlotFlags(
        rawValue: slot.flags.rawValue & ~sentFlags)
      bytes &+= UInt64(slot.length)
      index = unsafe ring.next(index)
    }
    return (position, bytes)
  }

  /// Takes back the buffers of a packet that is not sent after all.
  @inline(never)
  private func withdraw(
    _ port: AttachedRing, from first: UInt32, through last: UInt32, _ common: XDPPair.Common
  ) {
    var index = first
    while true {
      let buffer = unsafe ledger.buffer[Int(index)]
      if buffer != 0 { _ = unsafe common.ownership.takeBack(buffer) }
      unsafe ledger.buffer[Int(index)] = 0
      unsafe outstanding[Int(index)] = 0
      if index == last { return }
      index = unsafe port.ring.next(index)
    }
  }

  // MARK: The kernel

  /// Calls the kernel if it sleeps and has something to send.
  ///
  /// One call sends everything where the kernel lets the budget of a call be raised, 32 frames at a
  /// time where it does not.
  ///
  /// - Returns: False when the interface has gone.
  @inline(__always)
  private mutating func kick(_ port: AttachedRing, _ common: XDPPair.Common) -> Bool {
    while unsafe frames.isPending() && frames.needsWakeup {
      let before = unsafe frames.seenConsumer
      unsafe port.kring.count(.systemCalls)
      switch unsafe common.kickTransmit() {
      case .done: return true
      case .gone: return false
      case .more:
        // Completions may be what it lacks; and no progress means: later.
        unsafe reclaim(port, common)
        guard unsafe frames.isPending(), unsafe frames.seenConsumer != before else { return true }
      }
    }
    return true
  }

  // MARK: Completions

  /// Takes note of the descriptors that the kernel has done with.
  @inline(__always)
  private mutating func reclaim(_ port: AttachedRing, _ common: XDPPair.Common) {
    var position = unsafe completions.position
    let start = position
    while unsafe completions.has(position) {
      let address = unsafe completions.address(at: position)
      position &+= 1
      // Kernels round odd addresses down, so only the chunk counts. What begins in the headroom was
      // the end of the buffer before.
      var buffer = unsafe common.buffer(at: address)
      if unsafe common.offset(of: address) < headroom { buffer &-= 1 }
      unsafe complete(buffer, port, common)
    }
    if position != start { unsafe completions.release(upTo: position) }
  }

  @inline(__always)
  private mutating func complete(
    _ buffer: UInt32, _ port: AttachedRing, _ common: XDPPair.Common
  ) {
    var index = unsafe expected
    if unsafe ledger.buffer[Int(index)] != buffer {
      guard unsafe buffer < common.ownership.count else { return }
      index = unsafe ledger.slot[Int(buffer)]
      guard unsafe ledger.buffer[Int(index)] == buffer else { return }
    }
    let left = unsafe outstanding[Int(index)]
    guard left != 0 else { return }
    unsafe outstanding[Int(index)] = left &- 1
    unsafe expected = left == 1 ? port.ring.next(index) : index
  }

  /// Moves `hwtail` over the slots that are done, in order.
  @inline(__always)
  private mutating func giveBack(_ port: AttachedRing, _ common: XDPPair.Common) {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let end = unsafe kring.hwcur
    var index = unsafe ring.next(kring.hwtail)
    while index != end, unsafe outstanding[Int(index)] == 0 {
      let buffer = unsafe ledger.buffer[Int(index)]
      if buffer != 0 {
        _ = unsafe common.ownership.takeBack(buffer)
        unsafe ledger.buffer[Int(index)] = 0
      }
      index = unsafe ring.next(index)
    }
    unsafe kring.hwtail = index == 0 ? ring.slotCount &- 1 : index &- 1
  }
}
