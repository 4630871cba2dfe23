public import NetmapCore

extension ReceiveRing {
  /// Moves packets to a transmit ring, without a copy if both ports share a memory region.
  ///
  /// Within a region, this method swaps the buffers of the two slots. Between regions, it copies the bytes and
  /// truncates a packet that is longer than the target's buffers. It also copies packets whose offset in the
  /// buffer differs from the offset in the target's slot (`@offset`).
  ///
  /// If the process is killed during a swap, the engine completes it: each packet is then in one of the two rings, and
  /// each buffer in one slot. Programs that swap buffer indexes themselves (``unsafeRing``, netmap's C interface) do
  /// not have that protection.
  ///
  /// - Parameters:
  ///   - target: The ring that gets the packets; they leave at the next sync of its port. Both heads
  ///     move once after the last swap, or after each packet that is copied to another region.
  ///   - limit: The maximum number of slots to move.
  ///   - edit: Called once per slot, in order; may change the packet's bytes, but not their number.
  /// - Returns: The number of slots moved: the minimum of the packets, the room and `limit`.
  @inlinable
  @discardableResult
  public mutating func forward(
    to target: inout TransmitRing, limit: Int = .max,
    _ edit: (inout MutableRawSpan) -> Void
  ) -> Int {
    let total = min(count, target.space, max(limit, 0))
    guard total > 0 else { return 0 }
    if unsafe origin.pointee.isSameMemory(as: target.origin), let note = unsafe origin.pointee.note
    {
      unsafe exchange(total, with: &target, noting: note, edit)
    } else {
      for _ in 0..<total {
        let (slot, start, length) = unsafe load(position)
        var span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: length)
        edit(&span)
        unsafe target.copy(slot, start, length, to: target.position)
        target.advance()
        advance()
      }
    }
    return total
  }

  /// Moves packets to a transmit ring without changing them; see ``forward(to:limit:_:)``.
  @inlinable
  @discardableResult
  public mutating func forward(to target: inout TransmitRing, limit: Int = .max) -> Int {
    forward(to: &target, limit: limit) { _ in }
  }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  @_lifetime(target: copy target)
  mutating func exchange(
    _ total: Int, with target: inout TransmitRing, noting note: ExchangeNote,
    _ edit: (inout MutableRawSpan) -> Void
  ) {
    let usesOffsets = offsetMask | target.offsetMask != 0
    var (from, to) = (position, target.position)
    unsafe note.begin(origin.pointee.owner, at: from, to: target.ring, at: to)
    for number in 0..<total {
      let (slot, start, length) = unsafe load(from)
      var span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: length)
      edit(&span)
      if usesOffsets,
        unsafe start - ring.buffer(slot.bufferIndex) != target.offset(of: target.ring.place(to))
      {
        unsafe target.copy(slot, start, length, to: to)
      } else {
        let packet = SlotWord(
          bufferIndex: slot.bufferIndex, length: UInt16(truncatingIfNeeded: length),
          flags: slot.flags.intersection(.moreFragments).union(.bufferChanged))
        unsafe note.exchange(number, packet, from: ring.place(from), to: target.ring.place(to))
      }
      from = unsafe ring.next(from)
      to = unsafe target.ring.next(to)
    }
    target.move(to: to)
    move(to: from)
    unsafe note.end()
  }

  /// A slot, loaded once, and the place and length of its packet, limited to the buffer.
  @inlinable @inline(__always)
  func load(
    _ index: UInt32
  ) -> (slot: Slot, start: UnsafeMutableRawPointer, length: Int) {
    let slot = unsafe ring.load(index)
    let rule = unsafe ring.rule
    let offset = rule.offset(of: slot.pointer, mask: offsetMask)
    return unsafe (
      slot, ring.buffer(slot.bufferIndex) + offset, rule.truncated(UInt32(slot.length), at: offset)
    )
  }
}

extension TransmitRing {
  /// Copies a packet into a slot's buffer, truncated to the room there, and stores its length in the slot.
  @inlinable @inline(__always)
  func copy(
    _ slot: Slot, _ start: UnsafeMutableRawPointer, _ length: Int, to index: UInt32
  ) {
    let free = unsafe ring.place(index)
    let offset = unsafe offset(of: free)
    let copied = unsafe min(length, ring.rule.room(at: offset))
    unsafe (ring.buffer(free.loadBufferIndex()) + offset)
      .copyMemory(from: start, byteCount: copied)
    unsafe free.store(
      length: UInt16(truncatingIfNeeded: copied), flags: slot.flags.intersection(.moreFragments))
  }
}
