internal import CNetmap

// Access by offset to the rings of a region, for the engine. The offsets are the engine's own; every process that
// has the region mapped can write to the rings.

extension Region {
  /// The ring of `slotCount` slots at `offset`.
  func ring(at offset: Int, slotCount: Int) -> Ring {
    unsafe Ring(
      base: memory.base + offset, buffers: memory.base + layout.bufferBase,
      slotCount: UInt32(slotCount), bufferCount: UInt32(layout.buffers.count),
      bufferSize: UInt32(layout.buffers.size))
  }

  /// A slot of the ring at `offset`; `index` must be below the ring's slot count.
  func place(_ index: Int, ofRingAt offset: Int) -> SlotPlace {
    let place = offset + NETMAP_RING_SLOTS_OFFSET + index * MemoryLayout<Slot>.size
    precondition(
      place >= 0 && place <= memory.byteCount - MemoryLayout<Slot>.size, "slot outside the region")
    return unsafe SlotPlace(memory.base + place)
  }

  /// The current contents of a slot of the ring at `offset`.
  func slot(_ index: Int, ofRingAt offset: Int) -> Slot {
    unsafe place(index, ofRingAt: offset).load()
  }

  /// Clears length and flags of a slot of the ring at `offset`; the slot keeps its buffer.
  func clearSlot(_ index: Int, ofRingAt offset: Int) {
    unsafe place(index, ofRingAt: offset).store(length: 0, flags: [])
  }

  /// Writes a new `netmap_ring` and its slots.
  func writeRing(at offset: Int, _ direction: Direction, _ index: Int, buffers: [UInt32]) {
    let bufferSize = layout.buffers.size
    memory.clear(at: offset, count: NETMAP_RING_SLOTS_OFFSET)
    memory.store(
      layout.bufferOffset(fromRingAt: offset), at: offset + NETMAP_RING_BUF_OFS_OFFSET)
    memory.store(UInt32(buffers.count), at: offset + NETMAP_RING_NUM_SLOTS_OFFSET)
    memory.store(UInt32(bufferSize), at: offset + NETMAP_RING_NR_BUF_SIZE_OFFSET)
    memory.store(UInt16(index), at: offset + NETMAP_RING_RINGID_OFFSET)
    memory.store(UInt16(direction.rawValue), at: offset + NETMAP_RING_DIR_OFFSET)
    let tail = direction == .transmit ? UInt32(buffers.count - 1) : 0
    memory.store(tail, at: offset + NETMAP_RING_TAIL_OFFSET)
    for (slot, buffer) in buffers.enumerated() {
      // A length field has 16 bits, so slots with 65536-byte buffers start with 65535.
      unsafe place(slot, ofRingAt: offset).store(
        Slot(bufferIndex: buffer, length: UInt16(min(bufferSize, Int(UInt16.max)))))
    }
  }

  /// Stores the mask of the bits of a slot's `ptr` that hold an offset, for the ring's application.
  func storeOffsetMask(_ mask: UInt64, ofRingAt offset: Int) {
    memory.store(mask, at: offset + NETMAP_RING_OFFSET_MASK_OFFSET)
  }

  /// The next buffer in a list of extra buffers, from the first word of buffer `index`, which must be valid.
  func nextBuffer(after index: UInt32) -> UInt32 {
    memory.load(at: offset(ofBuffer: index), as: UInt32.self)
  }

  /// Links a buffer of a list of extra buffers to the next one.
  func setNextBuffer(_ next: UInt32, after index: UInt32) {
    memory.store(next, at: offset(ofBuffer: index))
  }
}
