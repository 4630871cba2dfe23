internal import Synchronization

// Copies of whole runs of slots between rings. The two ends of a pipe trust each other, so these functions check
// no slot; they use nothing that they read as an index or a length.

/// The flags of a run of slots, or-ed together, and the sum of their lengths.
typealias SlotSummary = (flags: UInt16, bytes: UInt64)

extension Ring {
  /// Copies one slot that the application has just filled to the same position of another ring.
  ///
  /// Loads length and flags together and without the index, exactly as the application stores them, so that the
  /// processor can forward them from its store buffer. A wider load would wait until that store reaches the
  /// cache, and the cache line is still on the other CPU.
  ///
  /// - Parameters:
  ///   - index: Below the slot count of both rings.
  ///   - peer: The destination ring.
  /// - Returns: The flags and the length of the slot.
  @inline(__always)
  func copyFilledSlot(_ index: UInt32, to peer: Ring) -> SlotSummary {
    let (source, target) = unsafe (place(index), peer.place(index))
    let upper = unsafe source.half(4).pointee.load(ordering: .relaxed)
    unsafe target.store(bufferIndex: source.loadBufferIndex())
    unsafe target.half(4).pointee.store(upper, ordering: .relaxed)
    unsafe target.store(pointer: source.loadPointer())
    return (UInt16(truncatingIfNeeded: upper >> 16), UInt64(upper & 0xffff))
  }

  /// Copies one slot, as two words, to the same position of another ring.
  ///
  /// - Parameters:
  ///   - index: Below the slot count of both rings.
  ///   - peer: The destination ring.
  /// - Returns: The flags of the slot.
  @inline(__always)
  func copySlot(_ index: UInt32, to peer: Ring) -> UInt16 {
    let (source, target) = unsafe (place(index), peer.place(index))
    let word = unsafe source.loadWord()
    unsafe target.store(word)
    unsafe target.store(pointer: source.loadPointer())
    return word.flags.rawValue
  }

  /// Copies the slots `from..<end` to the same positions of another ring, and optionally sums their lengths.
  ///
  /// - Parameters:
  ///   - from: The first slot, at most `end`.
  ///   - end: The slot after the last one, at most the slot count of either ring.
  ///   - peer: The destination ring.
  ///   - sums: Whether to sum the lengths.
  /// - Returns: The flags of the slots, or-ed together, and the sum of their lengths, which is 0 unless `sums` is
  ///   true.
  @inline(__always)
  func copyRun(from: UInt32, upTo end: UInt32, to peer: Ring, sums: Bool) -> SlotSummary {
    // A slot is read as four words; the second word holds length and flags.
    let source = unsafe UnsafeRawPointer(slot(from))
      .assumingMemoryBound(to: SIMD4<UInt32>.self)
    let target = unsafe UnsafeMutableRawPointer(peer.slot(from))
      .assumingMemoryBound(to: SIMD4<UInt32>.self)
    let count = Int(end &- from)
    var (all, sum) = (SIMD4<UInt32>.zero, SIMD4<UInt32>.zero)
    var index = 0
    if count < 64 {
      while index &+ 4 <= count {
        let (a, b) = unsafe (source[index], source[index &+ 1])
        let (c, d) = unsafe (source[index &+ 2], source[index &+ 3])
        unsafe target[index] = a
        unsafe target[index &+ 1] = b
        unsafe target[index &+ 2] = c
        unsafe target[index &+ 3] = d
        all |= (a | b) | (c | d)
        if sums { sum &+= (a &+ b) &+ (c &+ d) }
        index &+= 4
      }
      while index < count {
        let slot = unsafe source[index]
        unsafe target[index] = slot
        all |= slot
        if sums { sum &+= slot }
        index &+= 1
      }
    } else {
      // The C library's copy uses the widest stores of the processor, up to whole cache lines. A line that is on
      // the other CPU then takes one entry of the store buffer instead of four.
      unsafe UnsafeMutableRawPointer(target).copyMemory(
        from: source, byteCount: count &* MemoryLayout<Slot>.size)
      while index < count {
        let slot = unsafe source[index]
        all |= slot
        if sums { sum &+= slot }
        index &+= 1
      }
    }
    let flags = UInt16(truncatingIfNeeded: all.y >> 16)
    // Without flags, the words are the lengths: 65536 lengths of 16 bits do not overflow 32 bits.
    guard flags != 0, sums else { return (flags, UInt64(sum.y)) }
    return unsafe (flags, lengths(from: from, upTo: end))
  }

  /// The sum of the lengths of a run of slots, some of which carry flags.
  @inline(never)
  private func lengths(from: UInt32, upTo end: UInt32) -> UInt64 {
    (from..<end).reduce(0) { sum, index in unsafe sum &+ loadWord(index).length }
  }
}
