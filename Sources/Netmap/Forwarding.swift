public import NetmapCore

extension ReceiveRing {
  /// Moves packets to a transmit ring, without copying them if both ports share a region.
  ///
  /// Within a region the buffers of the two slots change places; between regions the bytes are
  /// copied, and a packet that is longer than the target's buffers is cut off there.
  ///
  /// - Parameters:
  ///   - target: Where the packets go; they leave at the next sync of its port.
  ///   - limit: How many slots at most.
  ///   - edit: May change the bytes of each slot on their way.
  /// - Returns: How many slots were moved: as many as there are packets, room, and limit.
  @inlinable
  @discardableResult
  public mutating func forward(
    to target: inout TransmitRing, limit: Int = .max,
    _ edit: (inout MutableRawSpan) -> Void
  ) -> Int {
    let isZeroCopy = memoryID == target.memoryID
    let total = min(count, target.space, max(limit, 0))
    for _ in 0..<total {
      let slot = unsafe ring.slot(position).pointee
      let length = unsafe min(Int(slot.length), Int(ring.bufferSize))
      var span = unsafe MutableRawSpan(
        _unsafeStart: ring.buffer(slot.bufferIndex), byteCount: length)
      edit(&span)
      move(slot, length: length, to: &target, isZeroCopy)
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
  mutating func move(
    _ slot: Slot, length: Int, to target: inout TransmitRing, _ isZeroCopy: Bool
  ) {
    let source = unsafe ring.slot(position)
    let free = unsafe target.ring.slot(target.position)
    let kept = slot.flags.intersection(.moreFragments)
    if isZeroCopy {
      unsafe source.pointee.bufferIndex = free.pointee.bufferIndex
      unsafe source.pointee.flags = .bufferChanged
      unsafe free.pointee.bufferIndex = slot.bufferIndex
      unsafe free.pointee.length = UInt16(truncatingIfNeeded: length)
      unsafe free.pointee.flags = kept.union(.bufferChanged)
    } else {
      let copied = unsafe min(length, Int(target.ring.bufferSize))
      unsafe target.ring.buffer(free.pointee.bufferIndex)
        .copyMemory(from: ring.buffer(slot.bufferIndex), byteCount: copied)
      unsafe free.pointee.length = UInt16(truncatingIfNeeded: copied)
      unsafe free.pointee.flags = kept
    }
    target.advance()
    advance()
  }
}
