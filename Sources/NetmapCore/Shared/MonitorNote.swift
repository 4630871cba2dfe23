internal import CNetmap
internal import Synchronization

/// The note about the buffers that a sync exchanges with a ring of a monitor without copies (`/z`).
///
/// It lies in the kring of those who fill the monitor's ring, and the holder of that kring's lock writes it. Two stores
/// exchange the buffers of a pair of slots. A process that is killed between them leaves one buffer in both slots, and
/// another buffer in none. The engine repairs that from the note before it releases the lock of the dead process. The order
/// is:
///
/// 1. write the note: the first slot of each ring, and the direction of the monitored ring;
/// 2. for each pair: store the pair's number and the monitor's buffer in the note; store the packet in the monitor's slot;
///    store the monitor's former buffer in the monitored ring's slot;
/// 3. store the end of the exchanged slots in the monitored ring's kring, then the end of the filled slots in the kring of
///    those who fill the monitor's ring, which shows the packets to the monitor;
/// 4. clear the note.
///
/// The note also says which two rings may be exchanged with the monitor's ring. Only the engine changes that, and holds the
/// lock meanwhile. So a sync that holds the lock and finds its ring named exchanges buffers between two rings that exist.
///
/// A view: one pointer, no ownership.
@unsafe
struct MonitorNote {
  private let base: UnsafeMutableRawPointer

  init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  private enum Offset {
    /// The slots that the batch began with, 16 bits each, and bits that say that there is a batch and what ring it is of.
    static var batch: Int { 0 }
    /// The number of the pair in progress, and the buffer that the monitor's slot had.
    static var pair: Int { 8 }
    /// The distance from a monitored ring to buffer 0; 0 for none. First that of the transmit ring.
    static var sources: Int { 16 }
  }

  private static var isBatch: UInt64 { 1 << 63 }
  private static var isTransmit: UInt64 { 1 << 32 }
  /// No buffer and no pair have this number.
  private static var noPair: UInt64 { .max }

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inline(__always)
  private func store(_ offset: Int, _ value: UInt64) {
    unsafe word(offset).pointee.store(value, ordering: .releasing)
  }

  // MARK: - The rings

  private static func source(_ direction: Direction) -> Int {
    direction == .transmit ? Offset.sources : Offset.sources &+ 8
  }

  /// Whether a ring may be exchanged with the monitor's ring. The caller holds the lock.
  func names(_ ring: Ring, _ direction: Direction) -> Bool {
    let distance = unsafe UInt64(UInt(bitPattern: ring.buffers - ring.base))
    return unsafe word(Self.source(direction)).pointee.load(ordering: .relaxed) == distance
  }

  /// Names the ring of one direction that may be exchanged with the monitor's ring. The engine holds the lock.
  ///
  /// - Parameters:
  ///   - distance: From the ring to buffer 0, bytes; nil for none.
  ///   - direction: The ring's direction.
  func store(distance: UInt64?, _ direction: Direction) {
    unsafe store(Self.source(direction), distance ?? 0)
  }

  // MARK: - A batch

  /// Begins a batch: slot `first` of the monitored ring is exchanged with slot `second` of the monitor's, and so on.
  func begin(at first: UInt32, to second: UInt32, _ direction: Direction) {
    unsafe store(Offset.pair, Self.noPair)
    // Last, because it makes the note valid.
    unsafe store(
      Offset.batch,
      UInt64(first & 0xffff) | UInt64(second & 0xffff) << 16
        | (direction == .transmit ? Self.isTransmit : 0) | Self.isBatch)
  }

  /// Exchanges the buffers of pair `number`.
  ///
  /// - Parameters:
  ///   - number: The number of earlier pairs of the batch.
  ///   - packet: The new contents of the monitor's slot, with the monitored slot's buffer.
  ///   - free: The new contents of the monitored slot, with the monitor's buffer.
  ///   - source: The monitored slot.
  ///   - target: The monitor's slot.
  @inline(__always)
  func exchange(
    _ number: UInt32, _ packet: SlotWord, for free: SlotWord, from source: SlotPlace,
    to target: SlotPlace
  ) {
    unsafe store(Offset.pair, UInt64(number) | UInt64(free.buffer) << 32)
    atomicMemoryFence(ordering: .releasing)
    unsafe target.store(packet)
    atomicMemoryFence(ordering: .releasing)
    unsafe source.store(free)
  }

  /// Ends a batch, after the ends of both rings' slots have been stored.
  func end() { unsafe store(Offset.batch, 0) }

  /// A batch that was begun and not ended.
  struct Batch: Hashable {
    let first: UInt32
    let second: UInt32
    let direction: Direction
    fileprivate let number: UInt32
    fileprivate let free: UInt32
  }

  /// The batch, each word loaded once; nil when there is none.
  var batch: Batch? {
    let slots = unsafe word(Offset.batch).pointee.load(ordering: .acquiring)
    guard unsafe slots & Self.isBatch != 0 else { return nil }
    let pair = unsafe word(Offset.pair).pointee.load(ordering: .relaxed)
    let isReceive = unsafe slots & Self.isTransmit == 0
    return Batch(
      first: UInt32(slots & 0xffff), second: UInt32(slots >> 16 & 0xffff),
      direction: isReceive ? .receive : .transmit,
      number: UInt32(truncatingIfNeeded: pair), free: UInt32(truncatingIfNeeded: pair >> 32))
  }

  /// Completes the exchange of the pair that a dead process was exchanging, if it had stored the first of the two slots.
  ///
  /// The engine calls it before it releases the dead process's lock. A second call changes nothing.
  ///
  /// - Parameters:
  ///   - batch: The value of ``batch``; numbers out of range have no effect.
  ///   - source: The monitored ring.
  ///   - target: The monitor's ring.
  /// - Returns: How many pairs have been exchanged.
  func finish(_ batch: Batch, from source: Ring, to target: Ring) -> UInt32 {
    guard unsafe batch.first < source.slotCount, unsafe batch.second < target.slotCount,
      unsafe batch.number < min(source.slotCount, target.slotCount)
    else { return 0 }
    let sourcePlace = unsafe source.place(
      source.index(batch.first, advancedBy: Int(batch.number)))
    let targetPlace = unsafe target.place(
      target.index(batch.second, advancedBy: Int(batch.number)))
    let (had, has) = unsafe (sourcePlace.loadBufferIndex(), targetPlace.loadBufferIndex())
    if had == batch.free { return batch.number &+ 1 }
    guard had == has, unsafe source.hasBuffer(batch.free) else { return batch.number }
    unsafe sourcePlace.store(SlotWord(bufferIndex: batch.free, length: 0, flags: .bufferChanged))
    return batch.number &+ 1
  }
}

extension KRing {
  /// The note of those who fill a monitor's ring without copies.
  var monitorNote: MonitorNote { unsafe MonitorNote(base: base + KRingLayout.monitorNote) }
}
