internal import NetmapCore
internal import Synchronization

/// Where the words of one ring pair lie in the memory that every process on the port maps: how far each
/// direction has got, and which buffer of the region is where.
///
/// Plain data, found by offset. The words of a direction are guarded by the lock of its netmap ring, but any
/// of those processes can write them at any time. Each accessor loads a word once; a buffer or slot number
/// that is out of range is refused.
package struct XDPPairLayout: Hashable, Sendable {
  package let transmitSlots: Int
  package let receiveSlots: Int
  /// Buffers of the region.
  package let bufferCount: Int

  package init(transmitSlots: Int, receiveSlots: Int, bufferCount: Int) {
    self.transmitSlots = transmitSlots
    self.receiveSlots = receiveSlots
    self.bufferCount = bufferCount
  }

  // Each direction's words have a pair of cache lines to themselves.
  static let transmitState = 0
  static let receiveState = 128
  private static let tables = 256

  var transmitBuffers: Int { Self.tables }
  var outstanding: Int { transmitBuffers + 4 * transmitSlots }
  var receiveBuffers: Int { rounded(outstanding + transmitSlots, to: 128) }
  var transmitSlotsByBuffer: Int { rounded(receiveBuffers + 4 * receiveSlots, to: 128) }
  var receiveSlotsByBuffer: Int { rounded(transmitSlotsByBuffer + 4 * bufferCount, to: 128) }

  /// Bytes of one pair, whole pages.
  package var byteCount: Int { pageRounded(receiveSlotsByBuffer + 4 * bufferCount) }
}

/// Which buffer each slot of a ring has lent, and the way back.
///
/// Slots of the ring are the application's to write, and are not believed again once a buffer has
/// been lent. A slot's entry is written before its buffer is lent, and cleared after it has been taken
/// back, so that whoever comes after a process that was killed finds every buffer.
@unsafe
package struct XDPLedger {
  /// By slot: the buffer it has lent, or is about to; 0 for none.
  private let buffers: UnsafeMutablePointer<Atomic<UInt32>>
  /// By buffer: the slot that has lent it. Only meaningful for buffers that are lent here.
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

  /// The buffer that slot `index`, below ``slotCount``, has lent, as somebody wrote it: perhaps no buffer.
  @inline(__always)
  subscript(index: UInt32) -> UInt32 {
    unsafe buffers[Int(index)].load(ordering: .relaxed)
  }

  /// Where to note the buffer of a slot before it is lent.
  @inline(__always)
  func note(_ index: UInt32) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe buffers + Int(index)
  }

  /// A noted buffer, below ``bufferCount``, has been lent.
  @inline(__always)
  func enter(_ buffer: UInt32, at index: UInt32) {
    unsafe slots[Int(buffer)].store(index, ordering: .relaxed)
  }

  /// The slot has its buffer back: after that has been seen to, and not before.
  @inline(__always)
  func clear(_ index: UInt32) {
    unsafe set(index, 0)
  }

  /// Changes an entry once everything before has been written.
  @inline(__always)
  func set(_ index: UInt32, _ buffer: UInt32) {
    unsafe buffers[Int(index)].store(buffer, ordering: .releasing)
  }

  /// The slot that has lent `buffer`, below ``slotCount``; nil when none of this ring has.
  @inline(__always)
  func slot(of buffer: UInt32) -> UInt32? {
    guard unsafe buffer < bufferCount else { return nil }
    let index = unsafe slots[Int(buffer)].load(ordering: .relaxed)
    guard unsafe index < slotCount, unsafe self[index] == buffer else { return nil }
    return index
  }

  /// Takes the buffer of a slot back, if it was lent by this slot, and clears the entry: what the
  /// entry's owner did not live to publish.
  ///
  /// - Returns: The buffer; 0 for none.
  @discardableResult
  func withdraw(_ index: UInt32, _ ownership: BufferOwnership) -> UInt32 {
    let buffer = unsafe self[index]
    guard buffer != 0 else { return 0 }
    // Two slots may name one buffer; then the one that has lent it is the other.
    let holder = unsafe slot(of: buffer)
    if holder == nil || holder == index { _ = ownership.takeBack(buffer) }
    unsafe clear(index)
    return buffer
  }
}

/// Of a transmit ring, by slot: a bit for each descriptor that has not been completed yet: 1 for the one that
/// begins in the slot's buffer, 2 for the rest of the packet in the headroom behind it.
@unsafe
struct XDPOutstanding {
  private let bits: UnsafeMutablePointer<Atomic<UInt8>>

  init(_ state: UnsafeMutableRawPointer, _ layout: XDPPairLayout) {
    unsafe bits = (state + layout.outstanding).assumingMemoryBound(to: Atomic<UInt8>.self)
  }

  /// The bits of a slot, which must be below the ledger's slot count.
  @inline(__always)
  subscript(index: UInt32) -> UInt8 {
    get { unsafe bits[Int(index)].load(ordering: .relaxed) }
    nonmutating set { unsafe bits[Int(index)].store(newValue, ordering: .relaxed) }
  }
}

/// The words of one direction that a sync keeps for the next one, whoever makes it.
///
/// A sync marks that it is under way. One that finds the mark, holding the lock, comes after a process
/// that was killed in the middle, and repairs first. What a sync has done becomes final with a store
/// to the kernel's ring; how far the netmap ring has got by then is written before, together with the
/// position that the store will publish (``commit(_:_:_:)``). So repair sees which of the two states
/// it is.
@unsafe
struct XDPStateWords {
  let base: UnsafeMutableRawPointer

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  private func longWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Whether a sync did not come to its end. Only for the holder of the ring's lock.
  @inline(__always)
  var isUnderWay: Bool { unsafe word(Offset.underWay).pointee.load(ordering: .relaxed) != 0 }

  /// A sync begins: its stores come after this.
  @inline(__always)
  func begin() {
    unsafe word(Offset.underWay).pointee.store(1, ordering: .relaxed)
    atomicMemoryFence(ordering: .acquiringAndReleasing)
  }

  /// The sync ends: its stores came before.
  @inline(__always)
  func end() {
    unsafe word(Offset.underWay).pointee.store(0, ordering: .releasing)
  }

  /// Says what the next store to the kernel's ring makes final.
  ///
  /// - Parameters:
  ///   - position: What will be stored there.
  ///   - slot: How far the netmap ring has got then.
  ///   - flag: One bit that belongs to it.
  ///   - second: Whether it is the direction's second kernel ring, which has a word of its own.
  @inline(__always)
  func commit(_ position: UInt32, _ slot: UInt32, _ flag: Bool = false, second: Bool = false) {
    let value = UInt64(position) << 32 | (flag ? 1 << 24 : 0) | UInt64(slot & 0xffff)
    unsafe longWord(second ? Offset.secondCommit : Offset.commit).pointee
      .store(value, ordering: .releasing)
  }

  /// What was said last. The slot may be none of the ring's.
  @inline(__always)
  func committed(second: Bool = false) -> (position: UInt32, slot: UInt32, flag: Bool) {
    let value = unsafe longWord(second ? Offset.secondCommit : Offset.commit).pointee
      .load(ordering: .relaxed)
    return (UInt32(value >> 32), UInt32(value & 0xffff), value & (1 << 24) != 0)
  }

  /// Where the kernel's cursor of the ring that this side fills was last seen.
  @inline(__always)
  var seenConsumer: UnsafeMutablePointer<Atomic<UInt32>> { unsafe word(Offset.seenConsumer) }

  /// Transmit: the slot whose completion is expected next; only a hint, and perhaps no slot.
  @inline(__always)
  var expected: UInt32 {
    get { unsafe word(Offset.expected).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe word(Offset.expected).pointee.store(newValue, ordering: .relaxed) }
  }

  /// How many frames that the kernel has lost have been counted.
  var lost: UInt64 {
    get { unsafe longWord(Offset.lost).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe longWord(Offset.lost).pointee.store(newValue, ordering: .relaxed) }
  }

  /// When the kernel was asked for them last, nanoseconds of the coarse monotonic clock.
  @inline(__always)
  var asked: UInt64 {
    get { unsafe longWord(Offset.asked).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe longWord(Offset.asked).pointee.store(newValue, ordering: .relaxed) }
  }

  /// Receive: two buffers that are changing slots in the ledger. Written down before the first of the
  /// four stores that it takes, so that they can be done again.
  struct Exchange {
    let buffer: UInt32
    let slot: UInt32
    let otherBuffer: UInt32
    let otherSlot: UInt32
  }

  var exchange: Exchange? {
    get {
      let buffers = unsafe longWord(Offset.exchangeBuffers).pointee.load(ordering: .acquiring)
      guard buffers != 0 else { return nil }
      let slots = unsafe longWord(Offset.exchangeSlots).pointee.load(ordering: .relaxed)
      return Exchange(
        buffer: UInt32(truncatingIfNeeded: buffers), slot: UInt32(truncatingIfNeeded: slots),
        otherBuffer: UInt32(buffers >> 32), otherSlot: UInt32(slots >> 32))
    }
    nonmutating set {
      if let value = newValue {
        unsafe longWord(Offset.exchangeSlots).pointee.store(
          UInt64(value.otherSlot) << 32 | UInt64(value.slot), ordering: .relaxed)
        unsafe longWord(Offset.exchangeBuffers).pointee.store(
          UInt64(value.otherBuffer) << 32 | UInt64(value.buffer), ordering: .releasing)
        atomicMemoryFence(ordering: .acquiringAndReleasing)
      } else {
        unsafe longWord(Offset.exchangeBuffers).pointee.store(0, ordering: .releasing)
      }
    }
  }

  /// Does what ``exchange`` says, for the first time or again; nothing where it names no slots or buffers.
  func finishExchange(in ledger: XDPLedger) {
    guard let exchange = unsafe exchange else { return }
    if unsafe exchange.slot < ledger.slotCount && exchange.otherSlot < ledger.slotCount
      && exchange.buffer < ledger.bufferCount && exchange.otherBuffer < ledger.bufferCount
    {
      unsafe ledger.set(exchange.otherSlot, exchange.otherBuffer)
      unsafe ledger.enter(exchange.otherBuffer, at: exchange.otherSlot)
      unsafe ledger.set(exchange.slot, exchange.buffer)
      unsafe ledger.enter(exchange.buffer, at: exchange.slot)
    }
    unsafe self.exchange = nil
  }

  private enum Offset {
    static var underWay: Int { 0 }
    static var expected: Int { 4 }
    static var seenConsumer: Int { 8 }
    static var commit: Int { 16 }
    static var secondCommit: Int { 24 }
    static var lost: Int { 32 }
    static var asked: Int { 40 }
    static var exchangeBuffers: Int { 48 }
    static var exchangeSlots: Int { 56 }
  }
}
