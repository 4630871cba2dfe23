internal import Synchronization

// Many slots at once, from ring to ring. The two ends of a pipe trust each other, so no slot is checked; nothing
// that is read here is used as an index or a length.

/// What a run of slots has in common: their flags or-ed together, and the sum of their lengths.
typealias SlotSummary = (flags: UInt16, bytes: UInt64)

extension Ring {
  /// Copies one slot that the application has just filled to the same place of another ring.
  ///
  /// Length and flags are loaded as the application stores them, together and without the index: the processor
  /// takes them from its store buffer. A wider load would wait until that store is in the cache, where the line is
  /// still the other CPU's.
  ///
  /// - Parameters:
  ///   - index: Below the slot count of either ring.
  ///   - peer: Where to.
  /// - Returns: Its flags and its length.
  @inline(__always)
  func copyFilledSlot(_ index: UInt32, to peer: Ring) -> SlotSummary {
    let (source, target) = unsafe (place(index), peer.place(index))
    let upper = unsafe source.half(4).pointee.load(ordering: .relaxed)
    unsafe target.store(bufferIndex: source.loadBufferIndex())
    unsafe target.half(4).pointee.store(upper, ordering: .relaxed)
    unsafe target.store(pointer: source.loadPointer())
    return (UInt16(truncatingIfNeeded: upper >> 16), UInt64(upper & 0xffff))
  }

  /// Copies one slot to the same place of another ring, as two words.
  ///
  /// - Parameters:
  ///   - index: Below the slot count of either ring.
  ///   - peer: Where to.
  /// - Returns: Its flags.
  @inline(__always)
  func copySlot(_ index: UInt32, to peer: Ring) -> UInt16 {
    let (source, target) = unsafe (place(index), peer.place(index))
    let word = unsafe source.loadWord()
    unsafe target.store(word)
    unsafe target.store(pointer: source.loadPointer())
    return word.flags.rawValue
  }

  /// Copies the slots `from..<end` to the same places of another ring: their words pass through unread, but
  /// for what is summed up.
  ///
  /// - Parameters:
  ///   - from: The first slot, at most `end`.
  ///   - end: The slot behind the last one, at most the slot count of either ring.
  ///   - peer: Where to.
  ///   - sums: Whether lengths are added up.
  /// - Returns: Their flags, or-ed together, and the sum of their lengths, 0 unless asked for.
  @inline(__always)
  func copyRun(from: UInt32, upTo end: UInt32, to peer: Ring, sums: Bool) -> SlotSummary {
    // A slot as four words; the second one is length and flags.
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
      // The C library's copy stores as much at once as the processor can: whole cache lines, so that a
      // line that the other CPU has takes one place in the store buffer and not four.
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
    // Without flags the words are the lengths: 65536 of 16 bits do not overflow 32.
    guard flags != 0, sums else { return (flags, UInt64(sum.y)) }
    return unsafe (flags, lengths(from: from, upTo: end))
  }

  /// The sum of the lengths of a run of slots, some of which carry flags.
  @inline(never)
  private func lengths(from: UInt32, upTo end: UInt32) -> UInt64 {
    (from..<end).reduce(0) { sum, index in unsafe sum &+ loadWord(index).length }
  }
}
