internal import NetmapCore
internal import Synchronization

/// The ledger of one ring: which buffer each slot has lent, and which slot has lent each buffer.
///
/// The application can write the slots of the ring. So once a buffer has been lent, syncs use the ledger and not
/// the slot. A sync writes a slot's entry before it lends the buffer, and clears the entry after it has taken the
/// buffer back. If a process is killed in between, the next process that syncs the ring still finds every buffer.
@unsafe
package struct XDPLedger {
  /// By slot: the buffer that the slot has lent, or is about to lend; 0 for none.
  private let buffers: UnsafeMutablePointer<Atomic<UInt32>>
  /// By buffer: the slot that has lent it. Meaningful only for buffers that this ring has lent.
  private let slots: UnsafeMutablePointer<Atomic<UInt32>>
  package let slotCount: UInt32
  package let bufferCount: UInt32

  /// The ledger of a pair's transmit ring, whose words begin at `state`.
  init(transmit state: UnsafeMutableRawPointer, _ layout: XDPPairLayout) {
    unsafe buffers = (state + layout.transmitBuffers).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe slots = (state + layout.transmitSlotsByBuffer)
      .assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe slotCount = UInt32(layout.transmitSlots)
    unsafe bufferCount = UInt32(layout.bufferCount)
  }

  /// The ledger of its receive ring.
  init(receive state: UnsafeMutableRawPointer, _ layout: XDPPairLayout) {
    unsafe buffers = (state + layout.receiveBuffers).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe slots = (state + layout.receiveSlotsByBuffer)
      .assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe slotCount = UInt32(layout.receiveSlots)
    unsafe bufferCount = UInt32(layout.bufferCount)
  }

  /// The buffer that slot `index`, below ``slotCount``, has lent, as stored: it may be no valid buffer number.
  @inline(__always)
  subscript(index: UInt32) -> UInt32 { unsafe entry(index).buffer }

  /// What slot `index`, below ``slotCount``, has lent.
  @inline(__always)
  func entry(_ index: UInt32) -> Entry {
    unsafe Entry(word: buffers[Int(index)].load(ordering: .relaxed))
  }

  /// The entry of a slot: a buffer, and, in the ledger of a transmit ring, how the slot came to send it.
  struct Entry {
    let word: UInt32

    /// The buffer, as stored: it may be no valid buffer number. 0 for none.
    @inline(__always)
    var buffer: UInt32 { word & 0x3fff_ffff }

    /// Whether another slot of the ring was sending the buffer already, or another ring had it (``isGuest``).
    @inline(__always)
    var isRepeated: Bool { word != buffer }

    /// Whether another ring had the buffer, and takes it back.
    @inline(__always)
    var isGuest: Bool { word & Self.guest != 0 }

    static var repeated: UInt32 { 1 << 31 }
    static var guest: UInt32 { 1 << 30 }
  }

  /// The word in which to note the buffer of a slot before it is lent.
  @inline(__always)
  func note(_ index: UInt32) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe buffers + Int(index)
  }

  /// Records the slot of a buffer, below ``bufferCount``, that has been noted and lent.
  @inline(__always)
  func enter(_ buffer: UInt32, at index: UInt32) {
    unsafe slots[Int(buffer)].store(index, ordering: .relaxed)
  }

  /// Clears the entry of a slot. Call it only after the buffer has been taken back.
  @inline(__always)
  func clear(_ index: UInt32) {
    unsafe set(index, 0)
  }

  /// Changes an entry, after all earlier stores have become visible.
  @inline(__always)
  func set(_ index: UInt32, _ buffer: UInt32) {
    unsafe buffers[Int(index)].store(buffer, ordering: .releasing)
  }

  /// The slot that has lent `buffer`, always below ``slotCount``; nil when no slot of this ring has lent it. Of
  /// several transmit slots that send one buffer, the last one.
  @inline(__always)
  func slot(of buffer: UInt32) -> UInt32? {
    guard unsafe buffer < bufferCount else { return nil }
    let index = unsafe slots[Int(buffer)].load(ordering: .relaxed)
    guard unsafe index < slotCount, unsafe self[index] == buffer else { return nil }
    return index
  }

  /// Receive: takes back the buffer of a slot, if this slot has lent it, and clears the entry. For buffers that were
  /// never published to the kernel.
  func withdraw(_ index: UInt32, _ ownership: BufferOwnership) {
    let buffer = unsafe self[index]
    guard buffer != 0 else { return }
    // Two slots may name one buffer. If the other slot has lent it, the buffer stays lent.
    let holder = unsafe slot(of: buffer)
    if holder == nil || holder == index { _ = ownership.takeBack(buffer) }
    unsafe clear(index)
  }
}

// Transmit: several slots may send one buffer. The first one to name it lends it. The others are marked as repeated,
// and the last one to be given back takes the buffer back. Slots are given back in ring order, so that is the slot
// that was entered last.
//
// A slot that names a buffer that another ring has is marked as a guest. The kernel reads the buffer for it, and
// nothing else changes: the other ring takes the buffer back, which may be before the guest's packet has been sent.
// As with the kernel module, the program that named the buffer twice has to know when it may write to it.
extension XDPLedger {
  /// Lends the buffer that a slot names, and enters it.
  ///
  /// - Returns: Whether the packet may be sent from the buffer.
  @inline(__always)
  func lendToSend(_ buffer: UInt32, at index: UInt32, _ ownership: BufferOwnership) -> Bool {
    // Checked first, because the note must not name a buffer that another slot has lent.
    if ownership.isUsers(buffer) {
      unsafe note(index).pointee.store(buffer, ordering: .relaxed)
      if ownership.lendToSend(buffer) {
        unsafe enter(buffer, at: index)
        return true
      }
    }
    return unsafe sendAgain(buffer, at: index, ownership)
  }

  /// Enters a buffer that the application does not hold: a slot of this ring sends it already, or another ring has it.
  @inline(never)
  private func sendAgain(
    _ buffer: UInt32, at index: UInt32, _ ownership: BufferOwnership
  ) -> Bool {
    unsafe clear(index)
    guard buffer >= SlotRule.firstBuffer else { return false }
    var mark = Entry.guest
    if let other = unsafe slot(of: buffer) {
      if unsafe !entry(other).isGuest { mark = Entry.repeated }
    } else if unsafe buffer >= bufferCount || !ownership.isLent(buffer) {
      return false
    }
    unsafe set(index, buffer | mark)
    unsafe enter(buffer, at: index)
    return true
  }

  /// Ends the loan of a slot that the kernel has finished with: takes the buffer back, unless another slot or another
  /// ring still has it.
  @inline(__always)
  func finish(_ index: UInt32, _ ownership: BufferOwnership) {
    let entry = unsafe entry(index)
    guard entry.word != 0 else { return }
    if unsafe !entry.isGuest && slot(of: entry.buffer) == index {
      _ = ownership.takeBackSent(entry.buffer)
    }
    unsafe clear(index)
  }

  /// Ends the loan of a slot whose buffer was never published to the kernel.
  @inline(never)
  func withdrawSent(_ index: UInt32, _ ownership: BufferOwnership) {
    let entry = unsafe entry(index)
    guard entry.word != 0 else { return }
    let other = unsafe anotherSlot(with: entry.buffer, than: index)
    if let other { unsafe enter(entry.buffer, at: other) }
    // A repeated slot leaves the buffer to the other slot. The slot that has lent it takes it back: the slots that
    // repeat it come later, and are withdrawn as well.
    if !entry.isGuest && (!entry.isRepeated || other == nil) {
      _ = ownership.takeBackSent(entry.buffer)
    }
    unsafe clear(index)
  }

  /// The slot that sends a buffer as well, and was entered last before slot `index`.
  private func anotherSlot(with buffer: UInt32, than index: UInt32) -> UInt32? {
    guard unsafe buffer < bufferCount else { return nil }
    var other = index
    for _ in unsafe 1..<slotCount {
      other = unsafe other == 0 ? slotCount &- 1 : other &- 1
      if unsafe self[other] == buffer { return other }
    }
    return nil
  }

  /// The slot whose descriptor the kernel has completed, when that is not the expected one: the first slot from
  /// `start` on that sends the buffer and whose descriptor is not completed yet.
  @inline(never)
  func slot(
    completing bit: UInt8, of buffer: UInt32, in outstanding: XDPOutstanding, from start: UInt32
  ) -> UInt32? {
    guard let last = unsafe slot(of: buffer) else { return nil }
    // Nearly always one slot sends the buffer.
    if unsafe !entry(last).isRepeated && outstanding[last] & bit != 0 { return last }
    var index = unsafe start < slotCount ? start : 0
    for _ in unsafe 0..<slotCount {
      if unsafe self[index] == buffer && outstanding[index] & bit != 0 { return index }
      index = unsafe index &+ 1 == slotCount ? 0 : index &+ 1
    }
    return nil
  }

  /// Returns the buffers that a transmit ring has lent, when its pair is closed.
  ///
  /// - Parameters:
  ///   - ring: The ring, whose slots get their buffers back.
  ///   - ownership: The owner bytes.
  func returnSent(to ring: Ring, _ ownership: BufferOwnership) {
    for index in unsafe 0..<min(slotCount, ring.slotCount) {
      let entry = unsafe entry(index)
      guard entry.word != 0, !entry.isGuest, ownership.takeBackSent(entry.buffer) else { continue }
      unsafe ring.place(index).store(bufferIndex: entry.buffer)
    }
  }
}
