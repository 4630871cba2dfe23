internal import CNetmap
public import Synchronization

/// Where a receive ring's kring notes the buffers that an application is exchanging with those of a transmit
/// ring of the same region (`ReceiveRing.forward`), for whoever comes after a process that was killed in
/// the middle.
///
/// Of each pair of slots the buffers change places, which takes two stores; the packets have moved when
/// both rings' heads have. Killed in between, a process would leave one buffer in two slots and another in
/// none, or a transmit ring's buffer where the receive ring's next owner expects a packet. So a batch is
/// noted before its first store, and the note goes after its last one. In this order:
///
/// 1. the note: which rings and slots, and in whose name;
/// 2. for each pair: its number and the transmit slot's buffer into the note; the packet into the transmit
///    slot; the transmit slot's former buffer into the receive slot;
/// 3. the transmit ring's head, then the receive ring's head;
/// 4. the end of the note.
///
/// A view: one pointer, no ownership. Not for application code.
@unsafe @frozen
public struct ExchangeNote {
  @usableFromInline let base: UnsafeMutableRawPointer

  package init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// Who exchanges: a client, and the number of the binding that it does it for.
  @frozen
  public struct Owner: Hashable, Sendable {
    @usableFromInline let tag: UInt64
    @usableFromInline let binding: UInt16

    package init(_ tag: ClientTag, binding: Int) {
      self.tag = tag.rawValue
      self.binding = UInt16(truncatingIfNeeded: binding)
    }
  }

  /// Begins a batch: slot `first` of the receive ring changes with slot `second` of `target`, and so on.
  @inlinable @inline(__always)
  public func begin(_ owner: Owner, at first: UInt32, to target: Ring, at second: UInt32) {
    unsafe store(Offset.tag, owner.tag)
    unsafe store(
      Offset.slots,
      UInt64(first & 0xffff) | UInt64(second & 0xffff) << 16 | UInt64(owner.binding) << 32)
    unsafe store(Offset.pair, Self.noPair)
    // Never 0: rings lie before the buffers. Last, since it makes the note valid.
    unsafe store(Offset.distance, UInt64(UInt(bitPattern: target.buffers - target.base)))
  }

  /// Has the buffers of pair `number` change places.
  ///
  /// - Parameters:
  ///   - number: How many pairs of the batch came before.
  ///   - packet: What the transmit slot is to say; its buffer is the receive slot's.
  ///   - source: The receive slot.
  ///   - target: The transmit slot.
  @inlinable @inline(__always)
  public func exchange(
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

  /// Ends a batch, both rings' heads being where they belong.
  @inlinable @inline(__always)
  public func end() {
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

  /// No pair has been noted yet: buffer and number that nothing has.
  @inlinable static var noPair: UInt64 { .max }

  @usableFromInline
  enum Offset {
    /// From the target ring to buffer 0; 0 when nothing is being exchanged.
    @inlinable static var distance: Int { 0 }
    @inlinable static var tag: Int { 8 }
    /// The first slot of each ring, 16 bits each, and the binding's number.
    @inlinable static var slots: Int { 16 }
    /// The pair that is being exchanged, and the transmit slot's buffer before it.
    @inlinable static var pair: Int { 24 }
  }
}

extension SyncSegment {
  /// Whether a client has begun an exchange on one of the port's rings and not ended it.
  package func hasExchange(of tag: ClientTag) -> Bool {
    (0..<endCount).contains { end in
      (0..<ringCount(end: end, .receive)).contains { index in
        unsafe kring(end: end, .receive, index)?.exchangeNote.batch?.tag == tag.rawValue
      }
    }
  }
}

extension KRing {
  /// Of a receive ring.
  package var exchangeNote: ExchangeNote {
    unsafe ExchangeNote(base: base + KRingLayout.exchange)
  }
}

// What whoever finds a note does with it. No number in it is believed.
extension ExchangeNote {
  /// A batch that was begun and has not ended.
  package struct Batch: Hashable, Sendable {
    /// From the target ring to buffer 0, bytes.
    package let distance: UInt64
    package let tag: UInt64
    package let binding: Int
    package let first: UInt32
    package let second: UInt32
    let number: UInt32
    let free: UInt32
  }

  /// The batch, each word loaded once; nil when nothing is being exchanged.
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

  /// Takes a batch for done as far as it came, and ends the note. Nobody may be exchanging any more.
  ///
  /// Each buffer is in one slot then; a packet that was exchanged is the transmit ring's, every other one
  /// still the receive ring's, in order. A packet that an application was editing may be half edited.
  /// Doing it twice changes nothing.
  ///
  /// - Parameters:
  ///   - batch: What ``batch`` returned.
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
    // The transmit ring's head moved in one step, if it did.
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
  /// The ring that a client says begins at `offset`, with as many slots as its object can hold at most; nil
  /// when there is none.
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
