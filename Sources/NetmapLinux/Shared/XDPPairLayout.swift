internal import NetmapCore
internal import Synchronization

/// The layout of the state of one ring pair: how far each direction has got, and which slot has lent which buffer.
///
/// Every process on the port maps this state. It is plain data, found by offset. The lock of a netmap ring guards
/// the words of that ring's direction, but any of these processes can write any word at any time. Each accessor
/// loads a word once. Buffer and slot numbers that are out of range are refused.
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

/// The descriptors of each slot of a transmit ring that the kernel has not completed yet, as bits.
///
/// The value 1 stands for the descriptor that begins in the slot's buffer, 2 for the one with the rest of the
/// packet in the headroom behind that buffer.
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
    nonmutating set { unsafe bits[Int(index)].store(newValue, ordering: .releasing) }
  }
}

/// The words of one direction that a sync keeps for the next sync, which may run in another process.
///
/// A sync sets a mark while it is under way. If the next sync, with the lock held, finds the mark, then the process
/// of the former sync was killed in the middle of it, and the next sync repairs the ring first. The work of a sync
/// becomes final with a store to the kernel's ring. Before that store, the sync writes down the position that the
/// store will publish, and how far the netmap ring has got by then (``commit(_:_:_:second:)``). So repair can tell
/// whether the store was made.
@unsafe
struct XDPStateWords {
  let base: UnsafeMutableRawPointer

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  private func longWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Whether a sync did not end. Meaningful only to the holder of the ring's lock.
  @inline(__always)
  var isUnderWay: Bool { unsafe word(Offset.underWay).pointee.load(ordering: .relaxed) != 0 }

  /// Marks the beginning of a sync. The stores of the sync come after this one.
  @inline(__always)
  func begin() {
    unsafe word(Offset.underWay).pointee.store(1, ordering: .relaxed)
    atomicMemoryFence(ordering: .acquiringAndReleasing)
  }

  /// Marks that the sync goes on with a short cut (``ShortCutLane``): repair then begins with the lane's own commits.
  @inline(__always)
  func beginLane() {
    unsafe word(Offset.underWay).pointee.store(2, ordering: .releasing)
    atomicMemoryFence(ordering: .acquiringAndReleasing)
  }

  /// Marks that the sync goes on with the kernel's rings.
  @inline(__always)
  func endLane() {
    unsafe word(Offset.underWay).pointee.store(1, ordering: .releasing)
  }

  /// Whether the sync that did not end was at work on a short cut.
  var isInLane: Bool { unsafe word(Offset.underWay).pointee.load(ordering: .relaxed) == 2 }

  /// Marks the end of a sync. The stores of the sync come before this one.
  @inline(__always)
  func end() {
    unsafe word(Offset.underWay).pointee.store(0, ordering: .releasing)
  }

  /// Writes down what the next store to a kernel ring makes final.
  ///
  /// - Parameters:
  ///   - position: The position that the store will publish.
  ///   - slot: The slot that the netmap ring has reached by then.
  ///   - flag: One bit that belongs to this state.
  ///   - second: Whether the kernel ring is the direction's second one, which has a word of its own.
  @inline(__always)
  func commit(_ position: UInt32, _ slot: UInt32, _ flag: Bool = false, second: Bool = false) {
    let value = UInt64(position) << 32 | (flag ? 1 << 24 : 0) | UInt64(slot & 0xffff)
    unsafe longWord(second ? Offset.secondCommit : Offset.commit).pointee
      .store(value, ordering: .releasing)
  }

  /// The values of the last commit, as stored. The slot may be out of range.
  @inline(__always)
  func committed(second: Bool = false) -> (position: UInt32, slot: UInt32, flag: Bool) {
    let value = unsafe longWord(second ? Offset.secondCommit : Offset.commit).pointee
      .load(ordering: .relaxed)
    return (UInt32(value >> 32), UInt32(value & 0xffff), value & (1 << 24) != 0)
  }

  /// The kernel's cursor of the ring that this side fills, as it was last seen.
  @inline(__always)
  var seenConsumer: UnsafeMutablePointer<Atomic<UInt32>> { unsafe word(Offset.seenConsumer) }

  /// Transmit: a descriptor that the kernel has completed: its position in the completion ring, its slot, and its bit
  /// of ``XDPOutstanding``.
  ///
  /// A sync writes this down before it clears the bit, so that the next sync can repeat that. Only the number of the
  /// position tells two completions of one buffer apart.
  struct Completion {
    let position: UInt32
    let slot: UInt32
    /// 0 before the first completion.
    let bit: UInt8
  }

  @inline(__always)
  var completion: Completion {
    get {
      let value = unsafe longWord(Offset.completion).pointee.load(ordering: .relaxed)
      return Completion(
        position: UInt32(truncatingIfNeeded: value >> 32), slot: UInt32(value & 0xff_ffff),
        bit: UInt8(truncatingIfNeeded: value >> 24))
    }
    nonmutating set {
      let value =
        UInt64(newValue.position) << 32 | UInt64(newValue.bit) << 24
        | UInt64(newValue.slot & 0xff_ffff)
      unsafe longWord(Offset.completion).pointee.store(value, ordering: .releasing)
    }
  }

  /// Transmit: the slot whose completion is expected next. Only a hint, which may be out of range.
  @inline(__always)
  var expected: UInt32 {
    get { unsafe word(Offset.expected).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe word(Offset.expected).pointee.store(newValue, ordering: .relaxed) }
  }

  /// How many of the frames that the kernel has lost are counted already.
  var lost: UInt64 {
    get { unsafe longWord(Offset.lost).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe longWord(Offset.lost).pointee.store(newValue, ordering: .relaxed) }
  }

  /// When a sync last asked the kernel for its losses, in nanoseconds of the coarse monotonic clock.
  @inline(__always)
  var asked: UInt64 {
    get { unsafe longWord(Offset.asked).pointee.load(ordering: .relaxed) }
    nonmutating set { unsafe longWord(Offset.asked).pointee.store(newValue, ordering: .relaxed) }
  }

  /// Receive: what of the work of the XDP program is counted already.
  var work: XDPWork {
    get {
      var result = XDPWork()
      unsafe result.checksums = longWord(Offset.work).pointee.load(ordering: .relaxed)
      unsafe result.tags = longWord(Offset.work + 8).pointee.load(ordering: .relaxed)
      unsafe result.unfinished = longWord(Offset.work + 16).pointee.load(ordering: .relaxed)
      return result
    }
    nonmutating set {
      unsafe longWord(Offset.work).pointee.store(newValue.checksums, ordering: .relaxed)
      unsafe longWord(Offset.work + 8).pointee.store(newValue.tags, ordering: .relaxed)
      unsafe longWord(Offset.work + 16).pointee.store(newValue.unfinished, ordering: .relaxed)
    }
  }

  /// Receive: two buffers that are changing slots in the ledger.
  ///
  /// A sync writes this down before the first of the four stores that the change takes, so that the next sync can
  /// repeat them.
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

  /// Makes the change that ``exchange`` describes, for the first time or again. Changes nothing if its slots or
  /// buffers are out of range.
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
    static var completion: Int { 64 }
    static var work: Int { 72 }
  }
}
