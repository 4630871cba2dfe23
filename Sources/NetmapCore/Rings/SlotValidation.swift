public import Synchronization

/// The part of an application's slot that a backend may pass on, after validation.
@usableFromInline
package struct LentSlot: Hashable, Sendable {
  /// The buffer: the slot's own buffer, now lent, or 0 if the application may not give it.
  @usableFromInline package let buffer: UInt32
  /// Offset of the packet in the buffer, in bytes.
  @usableFromInline package let offset: Int
  /// Length of the packet in bytes; never extends beyond the buffer.
  @usableFromInline package let length: Int
  @usableFromInline package let flags: SlotFlags

  @inlinable
  package init(buffer: UInt32, offset: Int, length: Int, flags: SlotFlags) {
    self.buffer = buffer
    self.offset = offset
    self.length = length
    self.flags = flags
  }
}

// The rule for slots (``SlotRule``), for backends. A backend passes buffers to the kernel or to an untrusted process,
// so the application must also hold the buffer (``BufferOwnership``). These functions report no error, because netmap
// reports none for a bad slot. They make the slot harmless and count the reason.
extension MappedRing {
  /// Lends the buffer of a slot to the receiver that the backend serves.
  ///
  /// - An invalid index, or a buffer that the application may not give (because it is free, or already lent since
  ///   two slots name it), becomes buffer 0, the sink.
  /// - A length beyond the end of the buffer is truncated at the end.
  ///
  /// The function loads the slot once and uses only the validated copy. Return the buffer with
  /// ``BufferOwnership/takeBack(_:)``; buffer 0 needs no return.
  @inlinable @inline(always)
  package func lendSlot(_ index: UInt32, _ ownership: BufferOwnership) -> LentSlot {
    let slot = unsafe ring.load(index)
    var buffer = slot.bufferIndex
    if !ownership.lend(buffer) {
      unsafe kring.countDrop(.badBufferIndex)
      buffer = 0
    }
    return unsafe lent(slot, buffer)
  }

  /// Lends the buffer of a receive slot and notes it, for a backend whose memory outlives this process.
  ///
  /// The note is written before the buffer is lent, so that the engine finds the buffer if the process is killed
  /// in between.
  ///
  /// - Parameters:
  ///   - index: The slot.
  ///   - ownership: The owner bytes of the region.
  ///   - note: Set to the buffer's index, or to 0 if no buffer was lent.
  /// - Returns: The buffer, or 0, with a count, if no buffer was lent.
  @inlinable @inline(always)
  package func lendToReceive(
    _ index: UInt32, _ ownership: BufferOwnership, noting note: UnsafeMutablePointer<Atomic<UInt32>>
  ) -> UInt32 {
    let buffer = unsafe ring.place(index).loadBufferIndex()
    // Checked first, because the note must not name a buffer that another slot has lent.
    if ownership.hasNoWriter(buffer) {
      unsafe note.pointee.store(buffer, ordering: .relaxed)
      if ownership.lendToReceive(buffer) { return buffer }
      unsafe note.pointee.store(0, ordering: .relaxed)
    }
    unsafe kring.countDrop(.badBufferIndex)
    return 0
  }

  /// Validates a slot for a backend that copies the packet before the sync ends.
  ///
  /// The buffer stays where it is. It may be one that another ring sends or receives into.
  @inlinable @inline(always)
  package func readSlot(_ index: UInt32, _ ownership: BufferOwnership) -> LentSlot {
    let slot = unsafe ring.load(index)
    let buffer = slot.bufferIndex
    return unsafe lent(slot, ownership.mayRead(buffer) ? buffer : refused())
  }

  /// The buffer that a slot names, for a backend that writes a received packet into it during the sync; buffer 0,
  /// with a count, if the slot may not name the buffer.
  @inlinable @inline(always)
  package func writableBuffer(_ index: UInt32, _ ownership: BufferOwnership) -> UInt32 {
    let buffer = unsafe ring.place(index).loadBufferIndex()
    return unsafe ownership.hasNoWriter(buffer) ? buffer : refused()
  }

  /// The offset of a receive slot in its buffer, for a backend that writes a packet there.
  ///
  /// If the slot's pointer asks for a larger offset than was agreed on, the function stores the offset in the pointer,
  /// so that the application finds the packet.
  @inlinable @inline(always)
  package func settleOffset(_ index: UInt32) -> Int {
    let mask = unsafe kring.offsetMask
    guard mask != 0 else { return 0 }
    let place = unsafe ring.place(index)
    let pointer = unsafe place.loadPointer()
    let offset = unsafe kring.offset(of: pointer, ring.rule)
    if pointer & mask != UInt64(offset) {
      unsafe place.store(pointer: pointer & ~mask | UInt64(offset) & mask)
    }
    return offset
  }

  @inlinable @inline(always)
  func refused() -> UInt32 {
    unsafe kring.countDrop(.badBufferIndex)
    return 0
  }

  /// The validated copy of a slot, once its buffer has been validated.
  ///
  /// - Parameters:
  ///   - slot: The slot, loaded once.
  ///   - buffer: Its buffer, or 0.
  /// - Returns: The slot with that buffer, its offset, and a length that ends in the buffer.
  @inlinable @inline(always)
  package func lent(_ slot: Slot, _ buffer: UInt32) -> LentSlot {
    let rule = unsafe ring.rule
    let offset = unsafe kring.offset(of: slot.pointer, rule)
    let length = UInt32(slot.length)
    if !rule.fits(length, at: offset) { unsafe kring.countDrop(.badLength) }
    return LentSlot(
      buffer: buffer, offset: offset, length: rule.truncated(length, at: offset), flags: slot.flags)
  }
}
