internal import CLinux

/// A ring of a monitor in the process that fills it.
///
/// Several rings fill one receive ring of a monitor, in several processes. Each takes the lock of the other end's kring
/// meanwhile.
@unsafe
struct MonitorTarget {
  /// Of the monitor's receive ring.
  let receiver: KRing
  /// The other end: the lock of those who fill the ring, and the end of the slots that they have filled.
  let sender: KRing
  let ring: Ring
  private let waiters: UnsafeMutableRawPointer

  /// How often to look whether another process has finished its work: about ten microseconds in all.
  private static var patience: Int { 200 }

  /// Nil when the monitor does not have the ring open, or when the description of the ring is out of range.
  init?(_ target: UnsafePointer<Destination>, _ entry: MonitorEntry) {
    let index = entry.ring
    guard unsafe index < target.pointee.receiveRings, unsafe index < target.pointee.transmitRings
    else { return nil }
    let receiver = unsafe target.pointee.kring(index)
    guard unsafe receiver.isOpen,
      let offset = unsafe receiver.openRingOffset(upTo: target.pointee.lastRingPlace)
    else { return nil }
    unsafe self.receiver = receiver
    unsafe sender = KRing(
      base: target.pointee.transmitKRings + index &* KRingLayout.byteCount)
    unsafe ring = Ring(
      base: target.pointee.region + offset, buffers: target.pointee.buffers,
      slotCount: target.pointee.slotCount, bufferCount: target.pointee.bufferCount,
      bufferSize: target.pointee.bufferSize)
    unsafe waiters = target.pointee.waiters
  }

  /// Takes the lock of those who fill the ring.
  ///
  /// - Returns: False when another process kept it for longer than about ten microseconds.
  func lock(_ tag: ClientTag) -> Bool {
    for _ in unsafe 0..<Self.patience {
      if unsafe sender.tryLock(tag) { return true }
      clinux_pause()
    }
    return false
  }

  /// Wakes the monitor. The caller has released the lock.
  func wake(after source: MappedRing) {
    unsafe source.kring.count(.systemCalls)
    unsafe sender.outboxWaitWord(waiters).wake(source.doorbells)
  }

  /// The end of the filled slots and the room behind them; nil when a position is out of range. The caller holds the lock.
  var room: (next: UInt32, count: UInt32)? {
    guard let next = unsafe sender.acquirePosition(below: ring.slotCount),
      let released = unsafe receiver.acquirePosition(below: ring.slotCount)
    else { return nil }
    return unsafe (next, ring.slotCount &- 1 &- ring.distance(from: released, to: next))
  }
}

extension Ring {
  /// The first of the slots `first..<end`, which may wrap, that a monitor with room for `room` of them gets: it gets the last
  /// ones. Whole packets are left out: the slot after a left out one may belong to the same packet.
  ///
  /// - Returns: That slot, and the number of slots before it.
  func suffix(from first: UInt32, upTo end: UInt32, room: UInt32) -> (UInt32, UInt32) {
    let count = unsafe distance(from: first, to: end)
    var (index, refused): (UInt32, UInt32) = (first, 0)
    var continues = false
    while index != end, count &- refused > room || continues {
      continues = unsafe loadWord(index).flags.contains(.moreFragments)
      index = unsafe next(index)
      refused &+= 1
    }
    return (index, refused)
  }
}

/// The copy of packets from a ring to one of its monitors.
///
/// It publishes the new end of the monitor's ring last, so releasing the lock of a killed process is the only repair: its
/// packets were not published.
@unsafe
struct MonitorCopy {
  private let source: MappedRing
  private let isTransmit: Bool
  private let target: MonitorTarget

  init(_ source: MappedRing, _ target: MonitorTarget, _ entry: MonitorEntry) {
    unsafe self.source = source
    unsafe isTransmit = entry.isTransmit
    unsafe self.target = target
  }

  /// The flags of a slot that the copy has: its own are those of a packet that the engine has taken.
  private static var keptFlags: SlotFlags {
    SlotFlags(
      rawValue:
        ~(SlotFlags.bufferChanged.rawValue | SlotFlags.indirect.rawValue
        | SlotFlags.monitoredTransmit.rawValue))
  }

  /// Copies the slots `first..<end`, which may wrap. If they are more than fit, copies the last ones of them, and counts the
  /// others as refused.
  func copy(from first: UInt32, upTo end: UInt32) {
    let from = unsafe source.ring
    guard unsafe target.lock(source.tag) else {
      return unsafe target.receiver.countRefused(
        .busy, UInt64(from.distance(from: first, to: end)))
    }
    guard let (next, room) = unsafe target.room else { return unsafe target.sender.unlock() }
    let (index, refused) = unsafe from.suffix(from: first, upTo: end, room: room)
    if refused > 0 { unsafe target.receiver.countRefused(.full, UInt64(refused)) }
    if index == end { return unsafe target.sender.unlock() }
    let wakes = unsafe fill(from: index, upTo: end, at: next)
    unsafe target.sender.unlock()
    if wakes { unsafe target.wake(after: source) }
  }

  /// - Returns: Whether the monitor sleeps.
  private func fill(from first: UInt32, upTo end: UInt32, at start: UInt32) -> Bool {
    let from = unsafe source.ring
    var (index, next) = (first, start)
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    while index != end {
      let length = unsafe copySlot(index, of: from, to: next)
      bytes &+= length.bytes
      if !length.continues { packets &+= 1 }
      index = unsafe from.next(index)
      next = unsafe target.ring.next(next)
    }
    unsafe target.sender.count(.packets, packets)
    unsafe target.sender.count(.bytes, bytes)
    unsafe target.sender.publish(position: next)
    return unsafe target.sender.outboxWaitWordIsSet
  }

  /// Copies the bytes of one slot, as many as fit the monitor's buffer. A slot that names no bytes of its ring's buffers
  /// arrives empty, and so does one with `NS_INDIRECT`, whose bytes are the sender's alone.
  private func copySlot(
    _ index: UInt32, of from: Ring, to next: UInt32
  ) -> (bytes: UInt64, continues: Bool) {
    let slotPlace = unsafe from.place(index)
    let slot = unsafe slotPlace.loadWord()
    let rule = unsafe from.rule
    let offset = unsafe source.kring.offset(of: slotPlace.loadPointer(), rule)
    let receiver = unsafe target.receiver
    let place = unsafe target.ring.place(next)
    let own = unsafe place.loadBufferIndex()
    let targetRule = unsafe target.ring.rule
    let shift = unsafe targetRule.offset(
      of: place.loadPointer(), mask: receiver.openOffsetMask, limit: receiver.openOffsetMax)
    var length = 0
    if rule.fault(of: slot, at: offset) == nil, !slot.flags.contains(.indirect) {
      length = targetRule.truncated(slot.byteCount, at: shift)
      unsafe copyPacket(
        from: from.buffer(slot.buffer) + offset, to: target.ring.buffer(own) + shift, length,
        room: min(rule.room(at: offset), targetRule.room(at: shift)))
    }
    var flags = unsafe slot.flags.intersection(Self.keptFlags)
    if unsafe isTransmit { flags.insert(.monitoredTransmit) }
    unsafe place.store(
      SlotWord(bufferIndex: own, length: UInt16(truncatingIfNeeded: length), flags: flags))
    return (UInt64(length), slot.flags.contains(.moreFragments))
  }
}
