internal import Synchronization

// Ring objects. The engine creates one when the first binding takes the ring, and frees it when the last one
// releases the ring.

extension EnginePort {
  /// Makes sure that every ring of `ranges` exists.
  ///
  /// - Parameters:
  ///   - ranges: The rings.
  ///   - made: Receives those rings that did not exist before, for ``releaseRings(_:)``.
  /// - Throws: ``NetmapError`` `ENOMEM`. Rings that were created before the failure stay.
  func createRings(
    _ ranges: RingRanges, made: inout [(Direction, Int)]
  ) throws(NetmapError) {
    // Receive rings first, as in netmap: the order decides which buffer indexes each ring gets.
    for direction in [Direction.receive, .transmit] {
      for index in ranges[direction] where self[direction, index].offset == nil {
        if let pair = unsafe pair {
          try createPipeRings(direction, index, peer: pair.peer(of: self))
        } else {
          try createRing(direction, index)
        }
        made.append((direction, index))
      }
    }
  }

  private func createRing(_ direction: Direction, _ index: Int) throws(NetmapError) {
    let slots = geometry.slots(direction)
    let offset = try region.allocateRing(slotCount: slots)
    let buffers: [UInt32]
    do throws(NetmapError) {
      buffers = try region.allocateBuffers(slots)
    } catch {
      region.releaseRing(at: offset)
      throw error
    }
    writeRing(direction, index, at: offset, buffers: buffers)
    self[direction, index].offset = offset
    resetKRing(direction, index, at: offset)
  }

  /// Creates a ring of a pipe and the peer's ring that is joined to it, with the same buffers.
  private func createPipeRings(
    _ direction: Direction, _ index: Int, peer: EnginePort
  ) throws(NetmapError) {
    let slots = geometry.slots(direction)
    let opposite: Direction = direction == .transmit ? .receive : .transmit
    let offset = try region.allocateRing(slotCount: slots)
    let peerOffset: Int
    let buffers: [UInt32]
    do throws(NetmapError) {
      peerOffset = try region.allocateRing(slotCount: slots)
    } catch {
      region.releaseRing(at: offset)
      throw error
    }
    do throws(NetmapError) {
      buffers = try region.allocateBuffers(slots)
    } catch {
      region.releaseRing(at: offset)
      region.releaseRing(at: peerOffset)
      throw error
    }
    writeRing(direction, index, at: offset, buffers: buffers)
    peer.writeRing(opposite, index, at: peerOffset, buffers: buffers)
    self[direction, index].offset = offset
    peer[opposite, index].offset = peerOffset
    resetKRing(direction, index, at: offset)
    peer.resetKRing(opposite, index, at: peerOffset)
    unsafe join(kring(direction, index), to: peer.kring(opposite, index), at: peerOffset)
    unsafe join(peer.kring(opposite, index), to: kring(direction, index), at: offset)
  }

  private func join(_ kring: KRing, to peer: KRing, at peerRingOffset: Int) {
    unsafe kring.store(peerKRing: segment.offset(of: peer), peerRing: UInt64(peerRingOffset))
  }

  /// Writes a fresh `netmap_ring` and its slots.
  private func writeRing(
    _ direction: Direction, _ index: Int, at offset: Int, buffers: [UInt32]
  ) {
    region.writeRing(at: offset, direction, index, buffers: buffers)
  }

  /// Puts a ring's kring in its initial state.
  private func resetKRing(_ direction: Direction, _ index: Int, at offset: Int) {
    let kring = unsafe kring(direction, index)
    let former = unsafe kring.reservation
    unsafe kring.clear()
    let slots = UInt32(geometry.slots(direction))
    unsafe kring.store(
      KRingDescription(
        slotCount: slots, ringID: UInt32(index), direction: direction.rawValue,
        kind: ringKind.rawValue, ringOffset: UInt64(offset)))
    if direction == .transmit {
      unsafe kring.store(hwtail: slots - 1)
      unsafe kring.store(rtail: slots - 1)
    }
    if ringKind == .monitor, direction == .receive {
      unsafe openToMonitored(kring, index, at: offset)
    }
    if ringKind == .vale {
      unsafe describe(kring, direction)
      if direction == .receive { unsafe openToSenders(kring, index, at: offset, former) }
    }
    unsafe kring.state = .on
  }

  /// Opens a new receive ring to the senders on a switch.
  ///
  /// Lease numbers go on from those of the ring that was here before: a sender may remember how much room it found
  /// there (``KRing/knownRoom(at:of:_:)``).
  private func openToSenders(
    _ kring: KRing, _ index: Int, at offset: Int, _ former: Reservation
  ) {
    guard segment.clearLeases(index) else { return }
    let first = former.afresh
    unsafe kring.arriving = first
    unsafe kring.reservation = first
    unsafe kring.store(openRingOffset: UInt64(offset))
    unsafe kring.setOpen(true)
  }

  /// Opens a new receive ring of a monitor to the processes that sync the monitored rings.
  private func openToMonitored(_ kring: KRing, _ index: Int, at offset: Int) {
    guard let sender = unsafe segment.kring(end: 1, .transmit, index) else { return }
    unsafe sender.clear()
    unsafe kring.store(peerKRing: segment.offset(of: sender), peerRing: UInt64(offset))
    unsafe kring.store(openRingOffset: UInt64(offset))
    unsafe kring.setOpen(true)
  }

  /// Frees the rings of a pipe that a failed attempt has created, and that no process can have found.
  ///
  /// If the other end is bound, ``takeUnusedRings()`` would leave them.
  func releaseRings(_ made: [(Direction, Int)]) {
    guard let pair = unsafe pair else { return }
    for (direction, index) in made {
      let opposite: Direction = direction == .transmit ? .receive : .transmit
      pair.takeRings(self === pair.master ? direction : opposite, index)?.free()
    }
  }

  /// Takes away the rings that no binding holds. A pipe's rings stay until neither end is bound.
  ///
  /// - Returns: The ring objects, which the caller frees.
  func takeUnusedRings() -> [RemovedRing] {
    if let pair = unsafe pair {
      guard pair.master.bindings == 0, pair.slave.bindings == 0 else { return [] }
      return Direction.allCases.flatMap { direction in
        (0..<pair.master.geometry.rings(direction)).compactMap { pair.takeRings(direction, $0) }
      }
    }
    var removed: [RemovedRing] = []
    for direction in Direction.allCases {
      for index in 0..<geometry.rings(direction) {
        guard let offset = self[direction, index].offset, self[direction, index].users == 0 else {
          continue
        }
        // A backend moves packets for a pair as a whole: while one ring of it is bound, the buffers of
        // the other may be lent.
        if case .interface = kind, pairUsers[geometry.pair(direction, index), default: 0] > 0 {
          continue
        }
        unsafe kring(direction, index).state = []
        unsafe kring(direction, index).setOpen(false)
        self[direction, index].offset = nil
        removed.append(
          RemovedRing(
            region: region, port: ObjectIdentifier(segment.memory), offsets: [offset],
            slots: (0..<geometry.slots(direction)).map { (offset, $0) },
            filling: direction == .receive ? filling(index, at: offset) : nil))
      }
    }
    return removed
  }

  /// Those who exchange buffers with the receive ring of a monitor; nil for other ports.
  private func filling(_ index: Int, at offset: Int) -> MonitorFilling? {
    guard let monitor, monitor.exchanges,
      let kring = unsafe segment.kring(end: 1, .transmit, index)
    else { return nil }
    return unsafe MonitorFilling(
      monitor: monitor, ring: index, kring: kring, segment: segment, region: region,
      offset: offset, slots: geometry.receiveSlots)
  }
}

/// Ring objects that have been taken from a port: one, or the two joined rings of a pipe's direction.
struct RemovedRing {
  let region: Region
  /// The port, or pipe, identified by its segment.
  let port: ObjectIdentifier
  /// The places of the ring objects in the region.
  let offsets: [Int]
  /// The slots whose buffers belong to the rings: the offset of a ring, and the slot's number.
  let slots: [(ring: Int, slot: Int)]
  /// Those who exchange buffers with the ring of a monitor; nil for other rings.
  let filling: MonitorFilling?

  /// Returns the buffers and the ring objects to the region.
  func free() {
    for (ring, slot) in slots {
      region.releaseBuffer(region.slot(slot, ofRingAt: ring).bufferIndex, ofRingAt: ring)
    }
    for offset in offsets { region.releaseRing(at: offset) }
  }
}

extension PipePair {
  /// Visits the slots of the master's ring and of the slave's ring that is joined to it, each slot once.
  ///
  /// Both rings name the same buffers, except where one side has swapped in others. The receive ring holds the
  /// slots that the sender has handed over and the receiver has not returned yet. The transmit ring holds all other
  /// slots. The valid copy of a slot is the one in the ring that holds it, so each buffer is found once.
  ///
  /// - Parameters:
  ///   - direction: The direction of the master's ring.
  ///   - index: The number of the ring.
  ///   - body: Called with the offset of the ring whose copy is valid, and the number of the slot.
  func forEachSlot(_ direction: Direction, _ index: Int, _ body: (Int, Int) -> Void) {
    let opposite: Direction = direction == .transmit ? .receive : .transmit
    guard let masterOffset = master[direction, index].offset,
      let slaveOffset = slave[opposite, index].offset
    else { return }
    let (transmit, receive) =
      unsafe direction == .transmit
      ? (master.kring(direction, index), slave.kring(opposite, index))
      : (slave.kring(opposite, index), master.kring(direction, index))
    let (transmitOffset, receiveOffset) =
      direction == .transmit ? (masterOffset, slaveOffset) : (slaveOffset, masterOffset)
    let (first, end) = unsafe (Int(receive.cursors.hwcur), Int(transmit.cursors.hwcur))
    for slot in 0..<master.geometry.slots(direction) {
      let isReceivers = first <= end ? (first..<end).contains(slot) : slot >= first || slot < end
      body(isReceivers ? receiveOffset : transmitOffset, slot)
    }
  }

  /// Takes away the master's ring and the slave's ring that is joined to it.
  ///
  /// - Returns: The ring objects, which the caller frees; nil when there are none.
  fileprivate func takeRings(_ direction: Direction, _ index: Int) -> RemovedRing? {
    let opposite: Direction = direction == .transmit ? .receive : .transmit
    guard let masterOffset = master[direction, index].offset,
      let slaveOffset = slave[opposite, index].offset
    else { return nil }
    var slots: [(Int, Int)] = []
    forEachSlot(direction, index) { slots.append(($0, $1)) }
    unsafe master.kring(direction, index).state = []
    unsafe slave.kring(opposite, index).state = []
    master[direction, index].offset = nil
    slave[opposite, index].offset = nil
    return RemovedRing(
      region: master.region, port: ObjectIdentifier(master.segment.memory),
      offsets: [masterOffset, slaveOffset], slots: slots, filling: nil)
  }
}
