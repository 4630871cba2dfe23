public import NetmapCore

extension ReceiveRing {
  /// Moves packets to a transmit ring, without copying them if both ports share a region.
  ///
  /// Within a region the buffers of the two slots change places; between regions the bytes are
  /// copied, and a packet that is longer than the target's buffers is cut off there. Copied as well are
  /// packets that begin elsewhere in their buffers than the target's slots say (`@offset`).
  ///
  /// The process may be killed at any time: of each packet whose buffer changes places it is known
  /// afterwards which ring has it, and every buffer is in one slot. Programs that exchange buffer indexes
  /// by themselves (``unsafeRing``, netmap's C interface) do not have that protection.
  ///
  /// - Parameters:
  ///   - target: Where the packets go; they leave at the next sync of its port. Both rings' heads move
  ///     when all packets have been edited.
  ///   - limit: How many slots at most.
  ///   - edit: May change the bytes of each slot on their way.
  /// - Returns: How many slots were moved: as many as there are packets, room, and limit.
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

  /// The same without changing anything.
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

  /// A slot, loaded once, and where its packet lies.
  @inlinable @inline(__always)
  func load(
    _ index: UInt32
  ) -> (slot: Slot, start: UnsafeMutableRawPointer, length: Int) {
    let slot = unsafe ring.load(index)
    let size = unsafe Int(ring.bufferSize)
    let offset =
      offsetMask == 0
      ? 0 : Int(truncatingIfNeeded: min(slot.pointer & offsetMask, UInt64(size)))
    return unsafe (
      slot, ring.buffer(slot.bufferIndex) + offset, min(Int(slot.length), size &- offset)
    )
  }
}

extension TransmitRing {
  /// Copies a packet into the buffer of a slot, and says so in the slot.
  @inlinable @inline(__always)
  func copy(
    _ slot: Slot, _ start: UnsafeMutableRawPointer, _ length: Int, to index: UInt32
  ) {
    let free = unsafe ring.place(index)
    let offset = unsafe offset(of: free)
    let copied = unsafe min(length, Int(ring.bufferSize) &- offset)
    unsafe (ring.buffer(free.loadBufferIndex()) + offset)
      .copyMemory(from: start, byteCount: copied)
    unsafe free.store(
      length: UInt16(truncatingIfNeeded: copied), flags: slot.flags.intersection(.moreFragments))
  }
}
