/// The exchange of a ring's buffers for those of a ring of a monitor without copies (`/z`).
///
/// The sync of the monitored ring makes it, with that ring's lock: of a receive ring with the slots that the application has
/// released, before they go back; of a transmit ring with the slots that come back, before the application gets them. So
/// neither the application nor a backend has the buffers meanwhile.
///
/// ``MonitorNote`` describes what is left of it when the process is killed.
@unsafe
struct MonitorExchange {
  private let source: MappedRing
  private let target: MonitorTarget
  private let isTransmit: Bool

  init(_ source: MappedRing, _ target: MonitorTarget, _ entry: MonitorEntry) {
    unsafe self.source = source
    unsafe self.target = target
    unsafe isTransmit = entry.isTransmit
  }

  /// Gives the monitor the packets in the slots `first..<end`, which may wrap, and the monitored ring the monitor's buffers
  /// for them. If they are more than fit, gives the last ones of them, and counts the others as refused.
  func exchange(from first: UInt32, upTo end: UInt32) {
    let from = unsafe source.ring
    guard unsafe target.lock(source.tag) else {
      return unsafe target.receiver.countRefused(
        .busy, UInt64(from.distance(from: first, to: end)))
    }
    let wakes = unsafe exchangeLocked(from: first, upTo: end)
    unsafe target.sender.unlock()
    if wakes { unsafe target.wake(after: source) }
  }

  /// - Returns: Whether the monitor sleeps, and has got packets.
  private func exchangeLocked(from first: UInt32, upTo end: UInt32) -> Bool {
    let from = unsafe source.ring
    // The engine ends the exchange by this, and takes the monitor's ring away only then.
    guard unsafe target.sender.monitorNote.names(from, source.direction),
      let (free, room) = unsafe target.room
    else { return false }
    var next = free
    var (index, refused) = unsafe from.suffix(from: first, upTo: end, room: room)
    var wakes = false
    while index != end {
      let done = unsafe exchangeBatch(from: index, upTo: end, at: next)
      index = unsafe from.index(index, advancedBy: Int(done))
      next = unsafe target.ring.index(next, advancedBy: Int(done))
      if done > 0 { wakes = unsafe target.sender.outboxWaitWordIsSet }
      guard index != end else { break }
      // A slot that names no buffer cannot be exchanged. If it is the monitor's, there is no place for any packet.
      if unsafe !target.ring.hasBuffer(target.ring.place(next).loadBufferIndex()) {
        refused &+= unsafe from.distance(from: index, to: end)
        break
      }
      refused &+= 1
      index = unsafe from.next(index)
    }
    if refused > 0 { unsafe target.receiver.countRefused(.full, UInt64(refused)) }
    return wakes
  }

  /// Exchanges buffers up to a slot that names none, and shows the monitor the packets.
  ///
  /// - Returns: The number of exchanged slots.
  private func exchangeBatch(
    from first: UInt32, upTo end: UInt32, at start: UInt32
  ) -> UInt32 {
    let from = unsafe source.ring
    let to = unsafe target.ring
    let sender = unsafe target.sender
    let note = unsafe sender.monitorNote
    // A monitor passes on the mark of the packets that it has got. Raw values, because array literals may allocate.
    let isPassedOn = unsafe source.kind == .monitor
    let mark = unsafe isTransmit && !isPassedOn ? SlotFlags.monitoredTransmit.rawValue : 0
    let kept =
      ~(SlotFlags.indirect.rawValue | (isPassedOn ? 0 : SlotFlags.monitoredTransmit.rawValue))
    let changed = SlotFlags.bufferChanged.rawValue
    var (index, next) = (first, start)
    var (count, packets): (UInt32, UInt64) = (0, 0)
    var bytes: UInt64 = 0
    unsafe note.begin(at: first, to: start, unsafe source.direction)
    while index != end {
      let (place, targetPlace) = unsafe (from.place(index), to.place(next))
      let (slot, own) = unsafe (place.loadWord(), targetPlace.loadWord())
      guard unsafe to.hasBuffer(slot.buffer), unsafe from.hasBuffer(own.buffer) else { break }
      // The bytes of a packet with NS_INDIRECT are the sender's alone: it arrives empty, as in a copy.
      let length = slot.flags.contains(.indirect) ? 0 : slot.length
      let flags = SlotFlags(rawValue: slot.flags.rawValue & kept | mark | changed)
      unsafe note.exchange(
        count,
        SlotWord(
          bufferIndex: slot.buffer, length: UInt16(truncatingIfNeeded: length), flags: flags),
        for: SlotWord(
          bufferIndex: own.buffer, length: UInt16(truncatingIfNeeded: own.length),
          flags: SlotFlags(rawValue: slot.flags.rawValue | changed)),
        from: place, to: targetPlace)
      bytes &+= length
      if !slot.flags.contains(.moreFragments) { packets &+= 1 }
      count &+= 1
      index = unsafe from.next(index)
      next = unsafe to.next(next)
    }
    if count > 0 {
      unsafe source.kring.store(exchangedEnd: index)
      unsafe sender.publish(position: next)
      unsafe sender.count(.packets, packets)
      unsafe sender.count(.bytes, bytes)
    }
    unsafe note.end()
    return count
  }
}
