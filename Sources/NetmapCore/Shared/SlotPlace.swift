public import CNetmap
public import Synchronization

/// One slot of a ring in shared memory: the only way to read and write it.
///
/// Other processes can write to the slot at any time. So each function that loads says so in its name and
/// loads once, atomically; check the value that it returns, and use that value. Index, length and flags are
/// one 64-bit word, the pointer is another one. All accesses are relaxed: the ring's cursors order them.
///
/// A view: one pointer, no ownership. Not for application code.
@unsafe @frozen
public struct SlotPlace {
  @usableFromInline let address: UnsafeMutableRawPointer

  @inlinable @inline(__always)
  init(_ address: UnsafeMutableRawPointer) {
    unsafe self.address = address
  }

  /// Loads index, length and flags at once.
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

  /// A copy of the slot by ordinary loads, which the compiler leaves out where nobody uses the value: an
  /// atomic load is made in any case. For the loops of applications, which may want no more than a length.
  ///
  /// Each field is loaded once at most. Fields may be of different moments, which for a slot that is the
  /// application's means that a peer breaks the rules: check the copy, and use the copy.
  @inlinable @inline(__always)
  public func snapshot() -> Slot {
    unsafe address.assumingMemoryBound(to: Slot.self).pointee
  }

  /// The buffer index by an ordinary load, as ``snapshot()``: left out where nobody uses the buffer. A sender of
  /// packets that stay as they are does not wait for a cache line that the receiver has written.
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

  /// Stores index, length and flags at once; the pointer stays.
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

  /// Stores length and flags, which are neighbours, at once; buffer index and pointer stay.
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

  /// The slot that is `count` behind this one. It must lie in the same ring, before its end.
  @inlinable @inline(__always)
  public func advanced(by count: Int) -> SlotPlace {
    unsafe SlotPlace(address + count &* MemoryLayout<Slot>.size)
  }

  /// Moves on by `count` slots, as ``advanced(by:)``.
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

  /// Stores buffer index, length and flags of a slot at once; its pointer stays.
  @inlinable @inline(__always)
  public func store(_ content: SlotWord, at index: UInt32) {
    unsafe place(index).store(content)
  }

  /// The slots that are the application's: the first one, and how many; nil when a cursor is out of range.
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

  /// Whether an index is that of a buffer that may be in a slot.
  @inlinable @inline(__always)
  public func hasBuffer(_ index: UInt32) -> Bool {
    unsafe index >= 2 && index < bufferCount
  }
}
