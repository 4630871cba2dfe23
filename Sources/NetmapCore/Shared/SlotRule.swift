/// The rule for slots: which bytes of its region a slot of a ring may name.
///
/// Every process that maps a ring can write to its slots. Code that takes a packet out of a slot, or puts a packet
/// into a slot's buffer, loads the slot once, asks this rule about the loaded value, and uses only that value. The
/// rule says what is wrong with a slot. The caller decides what follows: the switch drops the packet, a backend
/// sends the bytes that fit, a reset empties the slot.
///
/// A packet takes the bytes `offset ..< offset + length` of the slot's buffer:
///
/// - *Index*: below the number of buffers. Buffers 0 and 1 are reserved (`net/netmap.h`, `buf_idx`): a packet may be
///   copied from or to them, but no slot may give them away.
/// - *Offset*: the bits of the slot's pointer in the ring's mask, limited without an error to the largest offset that
///   was agreed on when the ring was opened, and to the size of a buffer (`NETMAP_REQ_OPT_OFFSETS`; upstream:
///   `nm_get_offset`). It is 0 in a ring without offsets.
/// - *Length*: at most the bytes from the offset to the end of the buffer (upstream: `NM_CHECK_ADDR_LEN_OFF`).
/// - *Flags*: no flag makes a slot bad. `NS_INDIRECT` makes the transmit ring of a switch port take the packet from
///   memory at the pointer instead, which the buffer's index and the offset then say nothing about.
///
/// Pipes do not ask: their ends trust each other (netmap(4)). The worker checks the slots of an isolated port instead.
@frozen @usableFromInline
package struct SlotRule: Hashable, Sendable {
  /// Buffers in the region.
  @usableFromInline package let bufferCount: UInt32
  /// Bytes in a buffer.
  @usableFromInline package let bufferSize: UInt32

  @inlinable @inline(__always)
  package init(bufferCount: UInt32, bufferSize: UInt32) {
    self.bufferCount = bufferCount
    self.bufferSize = bufferSize
  }

  /// The first buffer that a slot or a list may give away; the buffers below it are reserved.
  @inlinable @inline(__always)
  package static var firstBuffer: UInt32 { 2 }

  // MARK: - The parts

  /// Whether the region has a buffer, which may be a reserved one.
  @inlinable @inline(__always)
  package func reaches(_ buffer: UInt32) -> Bool { buffer < bufferCount }

  /// Whether a slot or a list may give a buffer away: the region has it, and it is not reserved.
  @inlinable @inline(__always)
  package func mayGive(_ buffer: UInt32) -> Bool {
    buffer >= Self.firstBuffer && reaches(buffer)
  }

  /// Where a packet begins in its buffer.
  ///
  /// - Parameters:
  ///   - pointer: The slot's pointer. Not evaluated in a ring without offsets.
  ///   - mask: The bits of a pointer that hold an offset; 0 in a ring without offsets.
  ///   - limit: The largest offset in force. Not evaluated in a ring without offsets. Applications do not know it.
  /// - Returns: The offset, bytes, at most ``bufferSize``.
  @inlinable @inline(__always)
  package func offset(
    of pointer: @autoclosure () -> UInt64, mask: UInt64, limit: @autoclosure () -> UInt64 = .max
  ) -> Int {
    mask == 0
      ? 0 : Int(truncatingIfNeeded: min(min(pointer() & mask, limit()), UInt64(bufferSize)))
  }

  /// The bytes from an offset, which is at most ``bufferSize``, to the end of the buffer.
  @inlinable @inline(__always)
  package func room(at offset: Int) -> Int { Int(bufferSize) &- offset }

  /// Whether so many bytes fit a buffer from an offset on.
  // In 32 bits: a comparison of 64 bits needs a register more, which the copy loops do not have.
  @inlinable @inline(__always)
  package func fits(_ length: UInt32, at offset: Int = 0) -> Bool {
    length <= bufferSize &- UInt32(truncatingIfNeeded: offset)
  }

  /// A length, limited to the bytes from an offset to the end of the buffer.
  @inlinable @inline(__always)
  package func truncated(_ length: UInt32, at offset: Int = 0) -> Int {
    min(Int(length), room(at: offset))
  }

  // MARK: - The rule

  /// Applies the rule to a slot.
  ///
  /// - Parameters:
  ///   - slot: The slot, loaded once.
  ///   - offset: The packet's offset, from ``offset(of:mask:limit:)``.
  ///   - isGiven: Whether the slot gives its buffer away. If its packet is only copied, the buffer may be a reserved
  ///     one.
  /// - Returns: What is wrong with the slot; nil for an acceptable one.
  @inlinable @inline(__always)
  package func fault(
    of slot: SlotWord, at offset: Int = 0, isGiven: Bool = false
  ) -> DropReason? {
    guard isGiven ? mayGive(slot.buffer) : reaches(slot.buffer) else { return .badBufferIndex }
    return fits(slot.byteCount, at: offset) ? nil : .badLength
  }

  // MARK: - Fast forms
  //
  // In a ring without offsets, one test finds the slots whose packets need no further look. Other slots take the way
  // that asks for the fault. `SlotRuleTests` compares these forms with the rule.

  /// The flags of a slot that a switch must look at: the buffer's bytes are not the packet, or a flag must be cleared.
  @inlinable @inline(__always)
  static var uncommonFlags: SlotFlags {
    SlotFlags(rawValue: SlotFlags.bufferChanged.rawValue | SlotFlags.indirect.rawValue)
  }

  /// Bytes of the shortest packet that a switch forwards: an Ethernet header.
  @inlinable @inline(__always)
  static var shortestFrame: UInt64 { 14 }

  /// Whether a slot at offset 0 has no fault and none of the ``uncommonFlags``.
  @inlinable @inline(__always)
  func isCommon(_ slot: SlotWord) -> Bool {
    !slot.hasAny(Self.uncommonFlags) && reaches(slot.buffer) && fits(slot.byteCount)
  }

  /// Whether a slot is common (``isCommon(_:)``) and holds a whole packet that is long enough for a switch.
  @inlinable @inline(__always)
  func isWhole(_ slot: SlotWord) -> Bool {
    !slot.hasAny(
      SlotFlags(rawValue: Self.uncommonFlags.rawValue | SlotFlags.moreFragments.rawValue))
      && reaches(slot.buffer) && fits(slot.byteCount) && slot.length >= Self.shortestFrame
  }
}

extension Ring {
  /// The rule for the slots of this ring.
  @inlinable @inline(__always)
  package var rule: SlotRule {
    unsafe SlotRule(bufferCount: bufferCount, bufferSize: bufferSize)
  }

  /// Whether an index names a buffer that a slot may contain.
  @inlinable @inline(__always)
  public func hasBuffer(_ index: UInt32) -> Bool { unsafe rule.mayGive(index) }
}
