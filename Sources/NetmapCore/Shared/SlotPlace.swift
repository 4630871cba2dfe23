public import CNetmap
public import Synchronization

/// One slot of a ring in shared memory: the only way to read and write a slot.
///
/// Other processes can write to the slot at any time. So each function that loads has "load" in its name and
/// loads once, atomically. Validate the returned value and use only that value. Index, length and flags form one
/// 64-bit word, the pointer is another. All accesses are relaxed: the ring's cursors order them.
///
/// A view: one pointer, no ownership. Not for application code.
@unsafe @frozen
public struct SlotPlace {
  @usableFromInline let address: UnsafeMutableRawPointer

  @inlinable @inline(__always)
  init(_ address: UnsafeMutableRawPointer) {
    unsafe self.address = address
  }

  /// Loads index, length and flags in one load.
  @inlinable @inline(__always)
  public func loadWord() -> SlotWord {
    unsafe SlotWord(rawValue: word(0).pointee.load(ordering: .relaxed))
  }

  /// Loads the pointer.
  @inlinable @inline(__always)
  public func loadPointer() -> UInt64 {
    unsafe word(8).pointee.load(ordering: .relaxed)
  }

  /// Loads the whole slot: ``loadWord()``, then ``loadPointer()``.
  @inlinable @inline(__always)
  public func load() -> Slot {
    unsafe Slot(loadWord(), pointer: loadPointer())
  }

  /// A copy of the slot, read with ordinary loads.
  ///
  /// The compiler can remove ordinary loads whose result is unused, but never an atomic load. For the loops of
  /// applications, which may need no more than the length.
  ///
  /// Loads each field at most once. The fields may come from different moments if a peer breaks the rules and
  /// writes to a slot that the application owns. Validate the copy and use only the copy.
  @inlinable @inline(__always)
  public func snapshot() -> Slot {
    unsafe address.assumingMemoryBound(to: Slot.self).pointee
  }

  /// The buffer index, read with an ordinary load like ``snapshot()``, which the compiler removes when the caller
  /// does not use the buffer.
  ///
  /// So a sender that leaves the packet bytes unchanged does not wait for a cache line that the receiver has
  /// written.
  @inlinable @inline(__always)
  public func snapshotBufferIndex() -> UInt32 {
    unsafe address.assumingMemoryBound(to: UInt32.self).pointee
  }

  /// Loads the buffer index alone.
  @inlinable @inline(__always)
  public func loadBufferIndex() -> UInt32 {
    unsafe half(0).pointee.load(ordering: .relaxed)
  }

  /// Loads the length alone.
  @inlinable @inline(__always)
  public func loadLength() -> UInt16 {
    unsafe (address + 4).assumingMemoryBound(to: Atomic<UInt16>.self).pointee.load(
      ordering: .relaxed)
  }

  /// Stores index, length and flags in one store; the pointer keeps its value.
  @inlinable @inline(__always)
  public func store(_ content: SlotWord) {
    unsafe word(0).pointee.store(content.rawValue, ordering: .relaxed)
  }

  /// Stores the pointer alone.
  @inlinable @inline(__always)
  public func store(pointer: UInt64) {
    unsafe word(8).pointee.store(pointer, ordering: .relaxed)
  }

  /// Stores the whole slot, in two words.
  @inlinable @inline(__always)
  public func store(_ slot: Slot) {
    unsafe store(SlotWord(slot))
    unsafe store(pointer: slot.pointer)
  }

  /// Stores the buffer index alone.
  @inlinable @inline(__always)
  public func store(bufferIndex: UInt32) {
    unsafe half(0).pointee.store(bufferIndex, ordering: .relaxed)
  }

  /// Stores length and flags, which are adjacent, in one store; buffer index and pointer keep their values.
  @inlinable @inline(__always)
  public func store(length: UInt16, flags: SlotFlags) {
    unsafe half(4).pointee.store(
      UInt32(length) | UInt32(flags.rawValue) << 16, ordering: .relaxed)
  }

  /// Stores the flags alone.
  @inlinable @inline(__always)
  public func store(flags: SlotFlags) {
    unsafe (address + 6).assumingMemoryBound(to: Atomic<UInt16>.self).pointee.store(
      flags.rawValue, ordering: .relaxed)
  }

  /// The slot `count` slots after this one, which must lie in the same ring, before its end.
  @inlinable @inline(__always)
  public func advanced(by count: Int) -> SlotPlace {
    unsafe SlotPlace(address + count &* MemoryLayout<Slot>.size)
  }

  /// Moves forward by `count` slots; see ``advanced(by:)``.
  @inlinable @inline(__always)
  public static func += (place: inout SlotPlace, count: Int) {
    unsafe place = unsafe place.advanced(by: count)
  }

  @inlinable @inline(__always)
  func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (address + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inlinable @inline(__always)
  func half(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (address + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

extension Ring {
  /// The slot at `index`, which must be below ``slotCount``.
  @inlinable @inline(__always)
  public func place(_ index: UInt32) -> SlotPlace {
    unsafe SlotPlace(
      base + NETMAP_RING_SLOTS_OFFSET + Int(index) &* MemoryLayout<Slot>.size)
  }

  /// Loads the slot at `index` once; see ``SlotPlace/load()``.
  @inlinable @inline(__always)
  public func load(_ index: UInt32) -> Slot {
    unsafe place(index).load()
  }

  /// Loads the slot at `index` without its pointer; see ``SlotPlace/loadWord()``.
  @inlinable @inline(__always)
  public func loadWord(_ index: UInt32) -> SlotWord {
    unsafe place(index).loadWord()
  }

  /// Stores buffer index, length and flags of a slot in one store; its pointer keeps its value.
  @inlinable @inline(__always)
  public func store(_ content: SlotWord, at index: UInt32) {
    unsafe place(index).store(content)
  }

  /// The application's slots: the index of the first one and their number; nil when a cursor is out of range.
  ///
  /// Loads each cursor once.
  @inlinable @inline(__always)
  public var ownSlots: (first: UInt32, count: UInt32)? {
    let (head, tail) = unsafe (head, tail)
    guard unsafe head < slotCount && tail < slotCount else { return nil }
    return unsafe (head, distance(from: head, to: tail))
  }

  /// Gives the slots before `index` to the engine.
  @inlinable @inline(__always)
  func giveAway(upTo index: UInt32) {
    unsafe cur = index
    unsafe head = index
  }
}
