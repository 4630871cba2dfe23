internal import CLinux

// Packets that lie outside the ring's buffers (`NS_INDIRECT`).

extension Forwarder {
  /// Makes frame `number` of the batch of a slot with an indirect packet.
  @inline(never)
  mutating func indirectFrame(_ slot: Slot, _ word: SlotWord, _ number: Int) -> Frame {
    let memory = unsafe path.pointee.indirect
    let continues = slot.flags.contains(.moreFragments)
    let length = Int(slot.length)
    guard !memory.isNone else { return unsafe emptyFrame(.indirect, continues) }
    guard memory.contains(slot.pointer, UInt64(length)), unsafe ring.rule.fits(word.byteCount)
    else { return unsafe emptyFrame(.badLength, continues) }
    let bytes: UnsafeRawPointer
    if memory.isCopied {
      guard let copies = unsafe path.pointee.copies else {
        return unsafe emptyFrame(.indirect, continues)
      }
      let copy = unsafe copies + number &* Int(ring.bufferSize)
      guard unsafe Self.copy(slot.pointer, to: copy, length) else {
        return unsafe emptyFrame(.badLength, continues)
      }
      unsafe bytes = UnsafeRawPointer(copy)
    } else {
      guard let direct = unsafe UnsafeRawPointer(bitPattern: UInt(slot.pointer)),
        unsafe isReadable(direct, length)
      else { return unsafe emptyFrame(.badLength, continues) }
      unsafe bytes = direct
    }
    return unsafe Frame(
      bytes: bytes, room: UInt32(length), length: slot.length, fragments: 1, continues: continues)
  }

  /// Has the kernel copy a packet, and so find addresses that cannot be read.
  ///
  /// - Returns: Whether all of the packet was copied. `errno` stays what it was.
  // Ends in a system call, which the compiler's analysis cannot follow.
  @_semantics("no_performance_analysis")
  private static func copy(
    _ address: UInt64, to target: UnsafeMutableRawPointer, _ length: Int
  ) -> Bool {
    unsafe length == 0 || clinux_copy_all_from_self(target, address, length) != 0
  }

  /// Whether this process may read all of an indirect packet.
  ///
  /// The kernel checks the pointer. A bad pointer therefore costs the sender a packet, but does not
  /// end its process.
  // Ends in a system call, which the compiler's analysis cannot follow.
  @_semantics("no_performance_analysis")
  private mutating func isReadable(_ bytes: UnsafeRawPointer, _ length: Int) -> Bool {
    let first = UInt(bitPattern: bytes)
    let (last, overflow) = first.addingReportingOverflow(UInt(max(length, 1) - 1))
    guard !overflow else { return false }
    for page in (first >> 12)...(last >> 12) where unsafe page != readablePage {
      let address = max(page << 12, first)
      guard unsafe clinux_is_readable(UnsafeRawPointer(bitPattern: address)) != 0 else {
        return false
      }
      unsafe readablePage = page
    }
    return true
  }
}
