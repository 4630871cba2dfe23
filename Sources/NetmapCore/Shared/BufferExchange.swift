internal import CNetmap
public import Synchronization

/// The note in a receive ring's kring about buffers that an application is exchanging with a transmit ring of the
/// same region (`ReceiveRing.forward`).
///
/// The engine uses the note to repair the rings if the process is killed during the exchange.
///
/// Exchanging the buffers of a pair of slots takes two stores; the packets have moved once both rings' heads have
/// moved. A process killed in between would leave one buffer in two slots and another buffer in none, or leave a
/// transmit ring's buffer where the next owner of the receive ring expects a packet. So the application writes
/// the note before the first store of a batch and clears it after the last store. The order is:
///
/// 1. write the note: the rings, the slots and the owner of the exchange;
/// 2. for each pair: store the pair's number and the transmit slot's buffer in the note; store the packet in the
///    transmit slot; store the transmit slot's former buffer in the receive slot;
/// 3. store the transmit ring's head, then the receive ring's head;
/// 4. clear the note.
///
/// A view: one pointer, no ownership. Not for application code.
@unsafe @frozen @usableFromInline
package struct ExchangeNote {
  @usableFromInline let base: UnsafeMutableRawPointer

  package init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// The owner of an exchange: a client and the number of its binding.
  @frozen @usableFromInline
  package struct Owner: Hashable, Sendable {
    @usableFromInline let tag: UInt64
    @usableFromInline let binding: UInt16

    package init(_ tag: ClientTag, binding: Int) {
      self.tag = tag.rawValue
      self.binding = UInt16(truncatingIfNeeded: binding)
    }
  }

  /// Begins a batch: slot `first` of the receive ring is exchanged with slot `second` of `target`, and so on.
  @inlinable @inline(__always)
  package func begin(_ owner: Owner, at first: UInt32, to target: Ring, at second: UInt32) {
    unsafe store(Offset.tag, owner.tag)
    unsafe store(
      Offset.slots,
      UInt64(first & 0xffff) | UInt64(second & 0xffff) << 16 | UInt64(owner.binding) << 32)
    unsafe store(Offset.pair, Self.noPair)
    // Never 0, because rings lie before the buffers. Stored last, because it makes the note valid.
    unsafe store(Offset.distance, UInt64(UInt(bitPattern: target.buffers - target.base)))
  }

  /// Exchanges the buffers of pair `number`.
  ///
  /// - Parameters:
  ///   - number: The number of earlier pairs of the batch.
  ///   - packet: The new contents of the transmit slot, with the receive slot's buffer.
  ///   - source: The receive slot.
  ///   - target: The transmit slot.
  @inlinable @inline(__always)
  package func exchange(
    _ number: Int, _ packet: SlotWord, from source: SlotPlace, to target: SlotPlace
  ) {
    let free = unsafe target.loadBufferIndex()
    unsafe store(
      Offset.pair, UInt64(UInt32(truncatingIfNeeded: number)) | UInt64(free) << 32)
    atomicMemoryFence(ordering: .releasing)
    unsafe target.store(packet)
    atomicMemoryFence(ordering: .releasing)
    unsafe source.store(
      SlotWord(
        bufferIndex: free, length: UInt16(truncatingIfNeeded: packet.length),
        flags: .bufferChanged))
  }

  /// Ends a batch, after both rings' heads have been stored.
  @inlinable @inline(__always)
  package func end() {
    unsafe store(Offset.distance, 0)
  }

  @inlinable @inline(__always)
  func store(_ offset: Int, _ value: UInt64) {
    unsafe word(offset).pointee.store(value, ordering: .releasing)
  }

  @inlinable @inline(__always)
  func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The value of the pair word before the first pair: no buffer and no pair have this number.
  @inlinable static var noPair: UInt64 { .max }

  @usableFromInline
  enum Offset {
    /// The distance from the target ring to buffer 0; 0 when no exchange is in progress.
    @inlinable static var distance: Int { 0 }
    @inlinable static var tag: Int { 8 }
    /// The first slot of each ring, 16 bits each, and the number of the binding.
    @inlinable static var slots: Int { 16 }
    /// The pair in progress, and the buffer that the transmit slot had before.
    @inlinable static var pair: Int { 24 }
  }
}

extension SyncSegment {
  /// Whether a client has an unfinished exchange on one of the port's rings.
  package func hasExchange(of tag: ClientTag) -> Bool {
    (0..<endCount).contains { end in
      (0..<ringCount(end: end, .receive)).contains { index in
        unsafe kring(end: end, .receive, index)?.exchangeNote.batch?.tag == tag.rawValue
      }
    }
  }
}

extension KRing {
  /// The exchange note of a receive ring.
  package var exchangeNote: ExchangeNote {
    unsafe ExchangeNote(base: base + KRingLayout.exchange)
  }
}

// The engine's repair. It validates every number in the note.
extension ExchangeNote {
  /// A batch that was begun and not ended.
  package struct Batch: Hashable, Sendable {
    /// The distance from the target ring to buffer 0, in bytes.
    package let distance: UInt64
    package let tag: UInt64
    package let binding: Int
    package let first: UInt32
    package let second: UInt32
    let number: UInt32
    let free: UInt32
  }

  /// The batch, each word loaded once; nil when no exchange is in progress.
  package var batch: Batch? {
    let distance = unsafe word(Offset.distance).pointee.load(ordering: .acquiring)
    guard distance != 0 else { return nil }
    let slots = unsafe word(Offset.slots).pointee.load(ordering: .relaxed)
    let pair = unsafe word(Offset.pair).pointee.load(ordering: .relaxed)
    return Batch(
      distance: distance, tag: unsafe word(Offset.tag).pointee.load(ordering: .relaxed),
      binding: Int(slots >> 32 & 0xffff), first: UInt32(slots & 0xffff),
      second: UInt32(slots >> 16 & 0xffff), number: UInt32(truncatingIfNeeded: pair),
      free: UInt32(truncatingIfNeeded: pair >> 32))
  }

  /// Completes a batch up to the last exchanged pair, and clears the note.
  ///
  /// No process may be exchanging any more.
  ///
  /// Afterwards each buffer is in one slot. The transmit ring holds the packets that were exchanged and the
  /// receive ring holds the others, in order. A packet that the application was editing may be half edited. A
  /// second call changes nothing.
  ///
  /// - Parameters:
  ///   - batch: The value of ``batch``.
  ///   - source: The receive ring.
  ///   - target: The transmit ring that the batch names.
  package func finish(_ batch: Batch, from source: Ring, to target: Ring) {
    defer { unsafe end() }
    let count = unsafe min(source.slotCount, target.slotCount)
    guard unsafe batch.first < source.slotCount, unsafe batch.second < target.slotCount else {
      return
    }
    var done: UInt32 = 0
    if batch.number < count {
      done = batch.number
      let sourcePlace = unsafe source.place(
        source.index(batch.first, advancedBy: Int(batch.number)))
      let targetPlace = unsafe target.place(
        target.index(batch.second, advancedBy: Int(batch.number)))
      let (had, has) = unsafe (sourcePlace.loadBufferIndex(), targetPlace.loadBufferIndex())
      if had == batch.free {
        done &+= 1
      } else if had == has, unsafe target.hasBuffer(batch.free) {
        unsafe targetPlace.store(
          SlotWord(bufferIndex: batch.free, length: 0, flags: .bufferChanged))
      }
    }
    // The transmit ring's head moves in one step, or not at all.
    let (head, own) = unsafe (target.head, source.ownSlots)
    if head == batch.second {
      if done != 0 {
        unsafe target.giveAway(upTo: target.index(batch.second, advancedBy: Int(done)))
      }
    } else if unsafe head < target.slotCount {
      done = unsafe target.distance(from: batch.second, to: head)
    }
    guard let own, own.first == batch.first, done <= own.count else { return }
    unsafe source.giveAway(upTo: source.index(batch.first, advancedBy: Int(done)))
  }
}

extension Region {
  /// The ring that a client claims to begin at `offset`, with at most as many slots as a ring object can hold;
  /// nil when no ring in use begins there.
  func namedRing(at offset: Int) -> Ring? {
    guard offset >= layout.rings.offset, offset < layout.rings.offset &+ layout.rings.byteCount,
      (offset &- layout.rings.offset) % layout.rings.size == 0, isRingInUse(at: offset)
    else { return nil }
    let slots = memory.load(at: offset + NETMAP_RING_NUM_SLOTS_OFFSET, as: UInt32.self)
    guard slots > 0, Int(slots) <= (layout.rings.size - NETMAP_RING_SLOTS_OFFSET) / 16 else {
      return nil
    }
    return unsafe ring(at: offset, slotCount: Int(slots))
  }
}
