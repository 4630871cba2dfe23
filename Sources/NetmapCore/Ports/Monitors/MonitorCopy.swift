internal import CLinux

/// The copy of packets from a ring to one of its monitors.
///
/// Several rings fill one receive ring of a monitor, in several processes. Each takes the lock of the other end's kring
/// for the copy. It publishes the new end of the ring last, so releasing the lock of a killed process is the only repair: its
/// packets were not published.
@unsafe
struct MonitorCopy {
  private let source: MappedRing
  private let isTransmit: Bool
  /// Of the monitor's receive ring.
  private let receiver: KRing
  /// The other end: the lock of those who fill the ring, and the end of the slots that they have filled.
  private let sender: KRing
  private let ring: Ring
  private let waiters: UnsafeMutableRawPointer

  /// The flags of a slot that the copy has: its own are those of a packet that the engine has taken.
  private static var keptFlags: SlotFlags {
    SlotFlags(
      rawValue:
        ~(SlotFlags.bufferChanged.rawValue | SlotFlags.indirect.rawValue
        | SlotFlags.monitoredTransmit.rawValue))
  }

  /// How often to look whether another process has finished its copy: about ten microseconds in all.
  private static var patience: Int { 200 }

  /// Nil when the monitor does not have the ring open, or when the description of the ring is out of range.
  init?(_ source: MappedRing, _ target: UnsafePointer<Destination>, _ entry: MonitorEntry) {
    let index = entry.ring
    guard unsafe index < target.pointee.receiveRings, unsafe index < target.pointee.transmitRings
    else { return nil }
    let receiver = unsafe target.pointee.kring(index)
    guard unsafe receiver.isOpen,
      let offset = unsafe receiver.openRingOffset(upTo: target.pointee.lastRingPlace)
    else { return nil }
    unsafe self.source = source
    unsafe isTransmit = entry.isTransmit
    unsafe self.receiver = receiver
    unsafe sender = KRing(
      base: target.pointee.transmitKRings + index &* KRingLayout.byteCount)
    unsafe ring = Ring(
      base: target.pointee.region + offset, buffers: target.pointee.buffers,
      slotCount: target.pointee.slotCount, bufferCount: target.pointee.bufferCount,
      bufferSize: target.pointee.bufferSize)
    unsafe waiters = target.pointee.waiters
  }

  /// Copies the slots `first..<end`, which may wrap. If they are more than fit, copies the last ones of them, and counts the
  /// others as refused.
  func copy(from first: UInt32, upTo end: UInt32) {
    let from = unsafe source.ring
    let count = unsafe from.distance(from: first, to: end)
    guard unsafe lock() else {
      return unsafe receiver.countRefused(.busy, UInt64(count))
    }
    guard let next = unsafe sender.acquirePosition(below: ring.slotCount),
      let released = unsafe receiver.acquirePosition(below: ring.slotCount)
    else { return unsafe sender.unlock() }
    let room = unsafe ring.slotCount &- 1 &- ring.distance(from: released, to: next)
    var index = first
    var refused: UInt32 = 0
    // Whole packets are left out: the slot after a left out one may belong to the same packet.
    var continues = false
    while index != end, count &- refused > room || continues {
      continues = unsafe from.loadWord(index).flags.contains(.moreFragments)
      index = unsafe from.next(index)
      refused &+= 1
    }
    if refused > 0 { unsafe receiver.countRefused(.full, UInt64(refused)) }
    if index == end { return unsafe sender.unlock() }
    let wakes = unsafe fill(from: index, upTo: end, at: next)
    unsafe sender.unlock()
    if wakes {
      unsafe source.kring.count(.systemCalls)
      unsafe sender.outboxWaitWord(waiters).wake(source.doorbells)
    }
  }

  private func lock() -> Bool {
    for _ in unsafe 0..<Self.patience {
      if unsafe sender.tryLock(source.tag) { return true }
      clinux_pause()
    }
    return false
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
      next = unsafe ring.next(next)
    }
    unsafe sender.count(.packets, packets)
    unsafe sender.count(.bytes, bytes)
    unsafe sender.publish(position: next)
    return unsafe sender.outboxWaitWordIsSet
  }

  /// Copies the bytes of one slot, as many as fit the monitor's buffer. A slot that names no bytes of its ring's buffers
  /// arrives empty, and so does one with `NS_INDIRECT`, whose bytes are the sender's alone.
  private func copySlot(
    _ index: UInt32, of from: Ring, to next: UInt32
  ) -> (bytes: UInt64, continues: Bool) {
    let place = unsafe from.place(index)
    let slot = unsafe place.loadWord()
    let rule = unsafe from.rule
    let offset = unsafe source.kring.offset(of: place.loadPointer(), rule)
    let target = unsafe ring.place(next)
    let own = unsafe target.loadBufferIndex()
    let targetRule = unsafe ring.rule
    let shift = unsafe targetRule.offset(
      of: target.loadPointer(), mask: receiver.openOffsetMask, limit: receiver.openOffsetMax)
    var length = 0
    if rule.fault(of: slot, at: offset) == nil, !slot.flags.contains(.indirect) {
      length = targetRule.truncated(slot.byteCount, at: shift)
      unsafe copyPacket(
        from: from.buffer(slot.buffer) + offset, to: ring.buffer(own) + shift, length,
        room: min(rule.room(at: offset), targetRule.room(at: shift)))
    }
    var flags = unsafe slot.flags.intersection(Self.keptFlags)
    if unsafe isTransmit { flags.insert(.monitoredTransmit) }
    unsafe target.store(
      SlotWord(bufferIndex: own, length: UInt16(truncatingIfNeeded: length), flags: flags))
    return (UInt64(length), slot.flags.contains(.moreFragments))
  }
}
