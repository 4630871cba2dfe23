public import NetmapCore

/// The packets that have arrived in a receive ring, to be taken in order.
///
/// Taking a packet moves the ring's head past it; the next sync or wait of the port gives its slot
/// back. Until then its bytes stay as they are. The view remembers how many packets there were when it
/// was taken, and cannot outlive the port.
///
/// On a VALE switch a packet can be empty: a sender that dies while it fills slots leaves them with length 0, and
/// the packets of others behind them. Skip such packets.
@safe @frozen
public struct ReceiveRing: ~Copyable, ~Escapable {
  @usableFromInline let ring: Ring
  @usableFromInline let origin: UnsafePointer<RingOrigin>
  /// As in ``TransmitRing``.
  @usableFromInline let offsetMask: UInt64
  /// The next slot to take: the ring's head.
  @usableFromInline var position: UInt32
  /// The first slot that holds no packet.
  @usableFromInline let end: UInt32

  @inlinable
  @_lifetime(immortal)
  init(_ ring: Ring, _ origin: UnsafePointer<RingOrigin>) {
    unsafe self.ring = ring
    unsafe self.origin = origin
    offsetMask = unsafe ring.offsetMask
    // See TransmitRing: what is out of range counts as "nothing there".
    let (head, tail) = unsafe (ring.head, ring.tail)
    let isSound = unsafe head < ring.slotCount && tail < ring.slotCount
    position = isSound ? head : 0
    end = isSound ? tail : 0
  }

  /// Slots that hold packets or parts of packets.
  @inlinable
  public var count: Int { unsafe Int(ring.distance(from: position, to: end)) }

  /// Whether every packet has been taken.
  @inlinable
  public var isEmpty: Bool { position == end }

  /// Slots in the ring. One of them always stays empty.
  public var slotCount: Int { unsafe Int(ring.slotCount) }

  /// When the packets became visible: wall-clock time since 1970, of the last sync of this ring.
  ///
  /// Microsecond resolution; all packets that one sync shows have the same stamp.
  public var timestamp: Duration {
    unsafe .seconds(ring.timestamp.seconds) + .microseconds(ring.timestamp.microseconds)
  }

  /// Takes the next packet, or the next fragment of one.
  ///
  /// - Returns: Nil when all have been taken. The bytes can be read until the next one is taken.
  @inlinable
  @_lifetime(&self)
  public mutating func next() -> Packet? {
    guard position != end else { return nil }
    let slot = unsafe ring.place(position).snapshot()
    advance()
    return unsafe _overrideLifetime(Packet(ring, slot, offsetMask), mutating: &self)
  }

  /// Takes up to `limit` packets: the fastest way to receive many.
  ///
  /// The ring's head moves once, after the last packet.
  ///
  /// - Parameters:
  ///   - limit: How many slots at most.
  ///   - body: Gets each packet, or fragment of one, in order.
  /// - Returns: How many slots were taken.
  @inlinable
  @discardableResult
  public mutating func forEach(upTo limit: Int = .max, _ body: (borrowing Packet) -> Void) -> Int {
    let taken = min(max(limit, 0), count)
    if offsetMask != 0 { return forEachAtOffset(taken, body) }
    var index = position
    var left = taken
    // The loops below are made for many.
    if taken == 1 {
      unsafe body(Packet(ring, ring.place(index).snapshot(), 0))
      advance()
      return 1
    }
    while left > 0 {
      // A stretch has no wrap in it, so that each slot costs one addition.
      let stretch = unsafe min(left, Int(ring.slotCount &- index))
      var slot = unsafe ring.place(index)
      for _ in 0..<stretch {
        unsafe body(Packet(ring, slot.snapshot(), 0))
        unsafe slot += 1
      }
      left &-= stretch
      index = unsafe ring.index(index, advancedBy: stretch)
    }
    move(to: index)
    return taken
  }

  // Inlined, although few rings have offsets: what `body` captures would live in memory otherwise, in the other
  // loops too.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func forEachAtOffset(_ taken: Int, _ body: (borrowing Packet) -> Void) -> Int {
    var index = position
    for _ in 0..<taken {
      unsafe body(Packet(ring, ring.load(index), offsetMask))
      index = unsafe ring.next(index)
    }
    move(to: index)
    return taken
  }

  /// Takes up to `limit` packets without looking at them.
  ///
  /// - Returns: How many slots were taken.
  @inlinable
  @discardableResult
  public mutating func skip(_ limit: Int = .max) -> Int {
    let taken = min(max(limit, 0), count)
    unsafe move(to: ring.index(position, advancedBy: taken))
    return taken
  }

  /// Asks the next wait to sleep until more arrives, although packets are left (`cur = tail`).
  public mutating func waitForMore() {
    unsafe ring.cur = end
  }

  /// The ring in shared memory, for what this interface does not offer. The caller answers for every
  /// index it writes; a ring left in an illegal state is reset at the next sync.
  @unsafe
  public var unsafeRing: Ring { unsafe ring }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func advance() {
    unsafe move(to: ring.next(position))
  }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func move(to index: UInt32) {
    position = index
    unsafe ring.cur = index
    unsafe ring.head = index
  }
}

/// A received packet, or one fragment of it.
@safe @frozen
public struct Packet: ~Escapable {
  /// The bytes, in the buffer they arrived in.
  public let bytes: RawSpan

  /// The slot as it was when the packet was taken.
  public let slot: Slot

  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(_ ring: Ring, _ slot: Slot, _ offsetMask: UInt64) {
    self.slot = slot
    // A peer wrote offset and length: no more than a buffer has is ever read.
    let size = unsafe Int(ring.bufferSize)
    let offset =
      offsetMask == 0
      ? 0 : Int(truncatingIfNeeded: min(slot.pointer & offsetMask, UInt64(size)))
    let span = unsafe RawSpan(
      _unsafeStart: ring.buffer(slot.bufferIndex) + offset,
      byteCount: min(Int(slot.length), size &- offset))
    // Whoever makes a packet ties it to the ring it came from.
    bytes = unsafe _overrideLifetime(span, copying: ())
  }

  /// Whether the packet goes on in the next slot.
  @inlinable
  public var hasMoreFragments: Bool { slot.flags.contains(.moreFragments) }
}
