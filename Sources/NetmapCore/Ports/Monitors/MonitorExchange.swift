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
    let flags = unsafe Flags(isTransmit, isPassedOn: source.kind == .monitor)
    var (index, next) = (first, start)
    var (count, last): (UInt32, UInt32) = (0, 0)
    var sums = Sums()
    unsafe note.begin(at: first, to: start, unsafe source.direction)
    // Piece by piece, each without a wrap of a ring.
    while index != end {
      let room = unsafe (index < end ? end : from.slotCount) &- index
      last = unsafe count &+ min(room, to.slotCount &- next)
      let done = unsafe exchangePiece(
        count, last, from.place(index), to.place(next), flags, note, &sums)
      index = unsafe from.index(index, advancedBy: Int(done &- count))
      next = unsafe to.index(next, advancedBy: Int(done &- count))
      count = done
      if count != last { break }
    }
    if count > 0 {
      unsafe source.kring.store(exchangedEnd: index)
      unsafe sender.publish(position: next)
      unsafe sender.count(.packets, UInt64(count) &- sums.fragments)
      unsafe sender.count(.bytes, sums.bytes)
    }
    unsafe note.end()
    return count
  }

  /// The bits of slots that an exchange keeps and sets, in the place that they have in a slot's word.
  private struct Flags {
    /// Of the packet's word, in the monitor's slot.
    let kept: UInt64
    let set: UInt64

    /// - Parameters:
    ///   - isTransmit: Whether the packets were sent.
    ///   - isPassedOn: Whether a monitor passes them on, with the mark that it has got.
    init(_ isTransmit: Bool, isPassedOn: Bool) {
      let mark = UInt64(SlotFlags.monitoredTransmit.rawValue) << 48
      kept = ~(UInt64(SlotFlags.indirect.rawValue) << 48 | (isPassedOn ? 0 : mark))
      set = Self.changed | (isTransmit && !isPassedOn ? mark : 0)
    }

    @inline(__always)
    static var changed: UInt64 { UInt64(SlotFlags.bufferChanged.rawValue) << 48 }
    /// The flags of a word.
    @inline(__always)
    static var all: UInt64 { 0xffff << 48 }
  }

  /// What a batch counts.
  private struct Sums {
    var bytes: UInt64 = 0
    /// Slots whose packet goes on in the next slot.
    var fragments: UInt64 = 0
  }

  /// Exchanges consecutive slots of both rings: pairs `first..<last` of the batch, up to a slot that names no buffer.
  ///
  /// - Returns: The number of the pair after the last exchanged one.
  @inline(__always)
  private func exchangePiece(
    _ first: UInt32, _ last: UInt32, _ source: SlotPlace, _ target: SlotPlace, _ flags: Flags,
    _ note: MonitorNote, _ sums: inout Sums
  ) -> UInt32 {
    let (rule, targetRule) = unsafe (self.source.ring.rule, self.target.ring.rule)
    var (place, targetPlace) = unsafe (source, target)
    var number = first
    while number != last {
      let (slot, own) = unsafe (place.loadWord(), targetPlace.loadWord())
      guard targetRule.mayGive(slot.buffer), rule.mayGive(own.buffer) else { break }
      var packet = slot.rawValue & flags.kept | flags.set
      // The bytes of a packet with NS_INDIRECT are the sender's alone: it arrives empty, as in a copy. So does one that is
      // longer than its buffer.
      if slot.hasAny(.indirect) || !rule.fits(slot.byteCount) { packet &= ~(0xffff << 32) }
      unsafe note.exchange(
        number, SlotWord(rawValue: packet),
        for: SlotWord(
          rawValue: own.rawValue & ~Flags.all | slot.rawValue & Flags.all | Flags.changed),
        from: place, to: targetPlace)
      sums.bytes &+= packet >> 32 & 0xffff
      sums.fragments &+= slot.hasAny(.moreFragments) ? 1 : 0
      number &+= 1
      unsafe place += 1
      unsafe targetPlace += 1
    }
    return number
  }
}
