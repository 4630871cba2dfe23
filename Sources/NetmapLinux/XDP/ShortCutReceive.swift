internal import Glibc
package import NetmapCore
internal import Synchronization

// Receive from a short cut (``ShortCutLane``), beside the kernel's frames.
//
// A slot that shows a packet of the lane has exchanged its buffer with nothing: its own buffer stays in the fill ring, and
// the ledger goes on saying so. When the application releases the slot, the buffer in it goes back to the cell. So the
// kernel's rings and the lane never have to agree on anything.
//
// Order. While the lane is held, its packets wait. While it is joined, frames of the kernel are older than the lane's
// packets, or come from the peer's host stack: they are taken first. Otherwise the lane's packets are older, except for
// frames before the barrier.

extension XDPReceive {
  /// The ring driver's function for a receive ring that may have a short cut; `context` is an
  /// `UnsafeMutablePointer<XDPReceive>`.
  package static let synchronizeWithLane: RingDriverFunction.Synchronize = {
    context, ring, head, _ in
    guard let context = unsafe context else { return EIO }
    let half = unsafe context.assumingMemoryBound(to: XDPReceive.self)
    let port = unsafe MappedRing(calledWith: ring)
    let result = unsafe half.pointee.synchronizeWithLane(port, upTo: head)
    unsafe half.pointee.countWork(port)
    return result
  }

  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  private func synchronizeWithLane(_ port: MappedRing, upTo head: UInt32) -> Int32 {
    guard let lane = unsafe lane else { return unsafe synchronize(port, upTo: head) }
    if unsafe state.isUnderWay { unsafe repair(port, lane) }
    guard let cursors = unsafe port.cursors(of: ledger) else { return EIO }
    unsafe state.begin()
    let wakes = unsafe giveBack(port, lane, from: cursors.hwcur, upTo: head)
    unsafe take(port, lane, at: cursors.hwtail, upTo: head)
    var isThere = true
    if unsafe fill.needsWakeup {
      unsafe port.kring.count(.systemCalls)
      isThere = unsafe common.kickReceive() == .done
    }
    let lost = unsafe common.newLosses(state, transmit: false)
    if lost != 0 { unsafe port.kring.countDrop(.kernel, lost) }
    unsafe state.end()
    if wakes { unsafe wake(lane, port) }
    return isThere ? 0 : ENXIO
  }

  /// Wakes the sleepers of the sender.
  // Ends in a system call, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(never)
  private func wake(_ lane: ShortCutLane, _ port: MappedRing) {
    unsafe port.kring.count(.systemCalls)
    unsafe lane.roomWait.wake(port.doorbells)
  }

  /// Gives the buffers of released slots back: to the lane's cells, or to the fill ring.
  ///
  /// As with ``synchronize(_:upTo:)``, the last slot keeps its buffer until the next one is released.
  ///
  /// - Returns: Whether a sleeper of the sender waits for cells.
  @inline(__always)
  private func giveBack(
    _ port: MappedRing, _ lane: ShortCutLane, from first: UInt32, upTo head: UInt32
  ) -> Bool {
    let ring = unsafe port.ring
    guard first != head else { return false }
    var position = unsafe fill.position
    let start = position
    let returned = unsafe lane.returned
    var cell = returned
    let open = unsafe lane.distance(from: returned, to: lane.taken) ?? 0
    var index = unsafe first == 0 ? ring.slotCount &- 1 : first &- 1
    let end = unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
    while index != end {
      if let origin = unsafe lane.origin(of: index), origin &- returned < open {
        if unsafe port.lendToReceive(index, common.ownership, noting: lane.note(origin)) == 0 {
          // The application has put no valid buffer there. The sender gets a cell that it cannot use.
          unsafe lane.note(origin).pointee.store(0, ordering: .relaxed)
        }
        cell = origin &+ 1
      } else {
        let buffer = unsafe port.lendToReceive(
          index, common.ownership, noting: ledger.note(index))
        if buffer != 0 {
          unsafe ledger.enter(buffer, at: index)
          unsafe fill.write(common.chunk(buffer), at: position)
          position &+= 1
        }
      }
      index = unsafe ring.next(index)
    }
    unsafe lane.commitReturned(cell, head)
    unsafe state.commit(position, head)
    if position != start { unsafe fill.publish(upTo: position) }
    let wakes = unsafe cell != returned && lane.publish(returned: cell)
    atomicMemoryFence(ordering: .releasing)
    unsafe port.kring.store(hwcur: head)
    return wakes
  }

  /// Shows the application what has arrived, in the order in which it was sent.
  @inline(__always)
  private func take(
    _ port: MappedRing, _ lane: ShortCutLane, at tail: UInt32, upTo head: UInt32
  ) {
    // The order of these loads matters. If the lane is joined after both, each frame counted here, but those from the
    // peer's host stack, was sent before each packet of the lane.
    let cells = unsafe lane.sent
    let arrived = unsafe frames.count(from: frames.position)
    let first = unsafe frames.position
    switch unsafe lane.mode {
    case .closed:
      _ = unsafe takeFrames(port, lane, at: tail, upTo: head, limit: arrived)
    case .held:
      let slot = unsafe takeFrames(port, lane, at: tail, upTo: head, limit: arrived)
      if unsafe lane.taken != cells && lane.isForsaken() {
        _ = unsafe takeCells(port, lane, at: slot, upTo: head, before: cells)
      }
    case .joined:
      // The barrier may be newer than the count.
      let older = unsafe framesBeforeBarrier(lane)
      let slot = unsafe takeFrames(
        port, lane, at: tail, upTo: head, limit: max(arrived, older))
      // Free slots can be too few for the next whole frame, but not for a packet of the lane.
      guard unsafe frames.position &- first >= older else { return }
      _ = unsafe takeCells(port, lane, at: slot, upTo: head, before: cells)
    case .kernel:
      let older = unsafe framesBeforeBarrier(lane)
      // Before each frame that was counted and lies behind the barrier, the sender has published all packets of the lane.
      let last = unsafe lane.sent
      var slot = unsafe takeFrames(port, lane, at: tail, upTo: head, limit: older)
      guard unsafe frames.position &- first >= older else { return }
      if unsafe lane.taken != last {
        slot = unsafe takeCells(port, lane, at: slot, upTo: head, before: last)
        guard unsafe lane.taken == last else { return }
      }
      guard arrived > older else { return }
      _ = unsafe takeFrames(port, lane, at: slot, upTo: head, limit: arrived &- older)
    }
  }

  /// How many frames of the kernel, from the next one on, lie before the barrier. All of them have arrived.
  @inline(__always)
  private func framesBeforeBarrier(_ lane: ShortCutLane) -> UInt32 {
    let barrier = unsafe lane.barrier
    guard unsafe barrier != lane.passedBarrier else { return 0 }
    let count = unsafe barrier &- frames.position
    // A number that no ring has room for: the barrier lies behind.
    if unsafe count != 0 && count <= frames.size { return count }
    unsafe lane.passedBarrier = barrier
    return 0
  }

  /// Takes frames of the kernel.
  ///
  /// - Returns: The new `hwtail`.
  @inline(__always)
  private func takeFrames(
    _ port: MappedRing, _ lane: ShortCutLane, at tail: UInt32, upTo head: UInt32, limit: UInt32
  ) -> UInt32 {
    guard limit != 0 else { return tail }
    let ring = unsafe port.ring
    let reserved = unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
    let count = unsafe min(
      min(limit, frames.count(from: frames.position)), ring.distance(from: tail, to: reserved))
    guard count != 0 else { return tail }
    // Before the slots are shown: a process that is killed in between leaves no frame that seems to be the lane's.
    var index = tail
    for _ in 0..<count {
      unsafe lane.clearOrigin(of: index)
      index = unsafe ring.next(index)
    }
    return unsafe take(port, at: tail, upTo: head, limit: count)
  }

  /// Takes packets of the lane, as many whole ones as there are free slots for.
  ///
  /// - Returns: The new `hwtail`.
  @inline(__always)
  private func takeCells(
    _ port: MappedRing, _ lane: ShortCutLane, at tail: UInt32, upTo head: UInt32,
    before end: UInt32
  ) -> UInt32 {
    let (ring, kring) = unsafe (port.ring, port.kring)
    let reserved = unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
    let start = unsafe lane.taken
    var position = start
    var left = unsafe min(
      lane.distance(from: start, to: end) ?? 0, ring.distance(from: tail, to: reserved))
    guard left != 0 else { return tail }
    unsafe lane.commitTaken(start, tail)
    unsafe state.beginLane()
    var slot = tail
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    let hasOffsets = unsafe kring.offsetMask != 0
    while left != 0 {
      var count: UInt32 = 0
      var isComplete = false
      var longest: UInt64 = 0
      while count != left, !isComplete {
        let cell = unsafe lane.cell(position &+ count)
        isComplete = !cell.flags.contains(.moreFragments)
        longest = max(longest, cell.length)
        count &+= 1
      }
      guard isComplete else { break }
      var fits = true
      if unsafe hasOffsets && longest > UInt64(kring.receiveRoom(ring.rule)) {
        unsafe kring.countDrop(.badLength)
        fits = false
      }
      for _ in 0..<count {
        let cell = unsafe lane.cell(position)
        let length = unsafe fits ? min(cell.length, UInt64(ring.bufferSize)) : 0
        unsafe show(cell, length, port, lane, position, at: slot, hasOffsets)
        bytes &+= length
        position &+= 1
        slot = unsafe ring.next(slot)
      }
      packets &+= 1
      left &-= count
    }
    unsafe lane.commitTaken(position, slot)
    unsafe state.commit(frames.position, slot, second: true)
    unsafe kring.store(hwtail: slot)
    unsafe state.endLane()
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.shortCutPackets, packets)
    unsafe kring.count(.bytes, bytes)
    return slot
  }

  /// Writes a slot with the buffer of a cell, which belongs to the application from here on.
  @inline(__always)
  private func show(
    _ cell: SlotWord, _ length: UInt64, _ port: MappedRing, _ lane: ShortCutLane,
    _ position: UInt32, at slot: UInt32, _ hasOffsets: Bool
  ) {
    var (buffer, length) = (cell.buffer, length)
    if unsafe !common.ownership.hasWriter(buffer) {
      // Not the lane's: the application must not see it. An empty packet takes its place.
      if buffer != 0 { unsafe port.kring.countDrop(.badBufferIndex) }
      (buffer, length) = (0, 0)
    }
    unsafe lane.setOrigin(of: slot, position)
    let more = cell.flags.contains(.moreFragments) ? SlotFlags.moreFragments.rawValue : 0
    unsafe port.ring.store(
      SlotWord(
        bufferIndex: buffer, length: UInt16(truncatingIfNeeded: length),
        flags: SlotFlags(rawValue: more | SlotFlags.bufferChanged.rawValue)), at: slot)
    // After the slot names it: a buffer that is not lent must be in a slot, also when this process is killed here.
    if buffer != 0 { _ = unsafe common.ownership.takeBack(buffer) }
    if hasOffsets, buffer != 0 {
      unsafe move(
        buffer, from: common.headroom, UInt32(truncatingIfNeeded: length), port, at: slot)
    }
  }

  /// Called with the ring's lock held. See ``repair(_:)`` for what it restores.
  @inline(never)
  private func repair(_ port: MappedRing, _ lane: ShortCutLane) {
    let ring = unsafe port.ring
    unsafe state.finishExchange(in: ledger)
    let shown = unsafe lane.takeCommit
    if unsafe state.isInLane && shown.slot < ring.slotCount {
      unsafe state.commit(frames.position, shown.slot, second: true)
    }
    let posted = unsafe state.committed()
    if unsafe posted.position == fill.position, unsafe posted.slot < ring.slotCount {
      unsafe port.kring.store(hwcur: posted.slot)
    }
    let taken = unsafe state.committed(second: true)
    if unsafe taken.position == frames.position, unsafe taken.slot < ring.slotCount {
      unsafe port.kring.store(hwtail: taken.slot)
    }
    guard let cursors = unsafe port.cursors(of: ledger) else { return }
    let last = unsafe lane.returnCommit
    if last.slot == cursors.hwcur,
      unsafe lane.distance(from: lane.returned, to: last.position) ?? 0 != 0
    {
      if unsafe lane.publish(returned: last.position) { unsafe wake(lane, port) }
    }
    // Cells that the killed sync has begun to show.
    let (returned, next) = unsafe (lane.returned, lane.taken)
    for step in unsafe 0..<(lane.distance(from: next, to: lane.sent) ?? 0) {
      _ = unsafe common.ownership.lend(lane.cell(next &+ step).buffer)
    }
    // Slots whose buffers neither the kernel nor the lane has.
    let open = unsafe lane.distance(from: returned, to: next) ?? 0
    var index = unsafe cursors.hwcur == 0 ? ring.slotCount &- 1 : cursors.hwcur &- 1
    while index != cursors.hwtail {
      if let origin = unsafe lane.origin(of: index), origin &- returned < open {
        let buffer = unsafe ring.place(index).loadBufferIndex()
        if unsafe lane.cell(origin).buffer == buffer {
          _ = unsafe common.ownership.takeBack(buffer)
        }
      } else {
        unsafe ledger.withdraw(index, common.ownership)
      }
      index = unsafe ring.next(index)
    }
  }
}
