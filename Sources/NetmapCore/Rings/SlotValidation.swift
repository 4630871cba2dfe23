public import Synchronization

/// What a backend may hand on of a slot that an application filled.
@usableFromInline
package struct LentSlot: Hashable, Sendable {
  /// The buffer: the slot's own, now lent, or 0 where the slot may not name it.
  @usableFromInline package let buffer: UInt32
  /// Where the packet begins in the buffer, bytes.
  @usableFromInline package let offset: Int
  /// Bytes of it, never beyond the buffer.
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

// Pipes hand slots on as they are; whoever passes buffers to the kernel or to a stranger checks each
// slot first. Nothing here refuses: netmap reports no error for a bad slot. It is made harmless, and
// counted by reason.
extension AttachedRing {
  /// Lends the buffer of a slot to whoever the backend serves.
  ///
  /// - An index that is no buffer, or whose buffer is not this application's to give (free, or lent
  ///   already because two slots name it), becomes buffer 0, the sink.
  /// - A length beyond the end of the buffer is cut there.
  ///
  /// The slot is read once: what was checked is what is used. Give the buffer back with
  /// ``BufferOwnership/takeBack(_:)``; buffer 0 needs no giving back.
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

  /// The same, for a backend whose memory outlives this process: the buffer is noted before it is lent,
  /// so that it is found if the process is killed in between.
  ///
  /// - Parameters:
  ///   - index: The slot.
  ///   - ownership: The owner bytes of the region.
  ///   - note: Holds the buffer's index afterwards, 0 where nothing was lent.
  /// - Returns: What the slot says, with buffer 0 where nothing was lent.
  @inlinable @inline(always)
  package func lendSlot(
    _ index: UInt32, _ ownership: BufferOwnership, noting note: UnsafeMutablePointer<Atomic<UInt32>>
  ) -> LentSlot {
    let slot = unsafe ring.load(index)
    var buffer = slot.bufferIndex
    // Looked at first: what another slot has lent must not be noted here as well.
    if ownership.isUsers(buffer) {
      unsafe note.pointee.store(buffer, ordering: .relaxed)
      if !ownership.lend(buffer) { buffer = 0 }
    } else {
      buffer = 0
    }
    if buffer == 0 {
      unsafe note.pointee.store(0, ordering: .relaxed)
      unsafe kring.countDrop(.badBufferIndex)
    }
    return unsafe lent(slot, buffer)
  }

  /// What a slot says, for a backend that copies the packet before the sync ends.
  ///
  /// The same checks as for ``lendSlot(_:_:)``, but the buffer stays the application's.
  @inlinable @inline(always)
  package func readSlot(_ index: UInt32, _ ownership: BufferOwnership) -> LentSlot {
    let slot = unsafe ring.load(index)
    return unsafe lent(slot, checked(slot.bufferIndex, ownership))
  }

  /// The buffer that a slot names, for a backend that writes a received packet into it during the
  /// sync; buffer 0, counted, where the slot may not name it.
  @inlinable @inline(always)
  package func writableBuffer(_ index: UInt32, _ ownership: BufferOwnership) -> UInt32 {
    unsafe checked(ring.place(index).loadBufferIndex(), ownership)
  }

  @inlinable @inline(always)
  func checked(_ buffer: UInt32, _ ownership: BufferOwnership) -> UInt32 {
    if ownership.isUsers(buffer) { return buffer }
    unsafe kring.countDrop(.badBufferIndex)
    return 0
  }

  @inlinable @inline(always)
  func lent(_ slot: Slot, _ buffer: UInt32) -> LentSlot {
    // No offset beyond the limit in force, as netmap: the smaller of the two, silently; and none beyond the
    // buffer, as the limit itself lies where other processes can write.
    let offset = unsafe kring.offset(of: slot.pointer, atMost: ring.bufferSize)
    let room = unsafe Int(ring.bufferSize) &- offset
    var length = Int(slot.length)
    if length > room {
      unsafe kring.countDrop(.badLength)
      length = room
    }
    return LentSlot(buffer: buffer, offset: offset, length: length, flags: slot.flags)
  }
}
