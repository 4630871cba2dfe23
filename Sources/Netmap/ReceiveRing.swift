public import NetmapCore

/// The packets that have arrived in a receive ring, read in order.
///
/// Taking a packet moves the ring's head past it; the next sync or wait of the port returns its slot to the
/// engine. Until then its bytes stay unchanged. The view keeps the number of packets that it found at its
/// creation, and cannot outlive the port.
///
/// On a VALE switch a packet can be empty: a sender that dies while it fills slots leaves them with length 0,
/// followed by packets of other senders. Skip empty packets.
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
    // As in TransmitRing, cursors out of range mean an empty ring.
    let (head, tail) = unsafe (ring.head, ring.tail)
    let isSound = unsafe head < ring.slotCount && tail < ring.slotCount
    position = isSound ? head : 0
    end = isSound ? tail : 0
  }

  /// Number of slots that hold packets or fragments.
  @inlinable
  public var count: Int { unsafe Int(ring.distance(from: position, to: end)) }

  /// Whether all packets have been taken.
  @inlinable
  public var isEmpty: Bool { position == end }

  /// Number of slots in the ring; one of them always stays empty.
  public var slotCount: Int { unsafe Int(ring.slotCount) }

  /// When the packets became visible: wall-clock time since 1970 of the last sync of this ring.
  ///
  /// Microsecond resolution. All packets that became visible in one sync have the same time stamp.
  public var timestamp: Duration {
    unsafe .seconds(ring.timestamp.seconds) + .microseconds(ring.timestamp.microseconds)
  }

  /// Takes the next packet, or the next fragment of a packet.
  ///
  /// - Returns: The packet, whose bytes can be read until the next call; nil when all have been taken.
  @inlinable
  @_lifetime(&self)
  public mutating func next() -> Packet? {
    guard position != end else { return nil }
    let slot = unsafe ring.place(position).snapshot()
    advance()
    return unsafe _overrideLifetime(Packet(ring, slot, offsetMask), mutating: &self)
  }

  /// Takes up to `limit` packets: the fastest way to receive many packets.
  ///
  /// The ring's head moves once, after the last packet.
  ///
  /// - Parameters:
  ///   - limit: The maximum number of slots to take.
  ///   - body: Called with each packet, or fragment of a packet, in order.
  /// - Returns: The number of slots taken.
  @inlinable
  @discardableResult
  public mutating func forEach(upTo limit: Int = .max, _ body: (borrowing Packet) -> Void) -> Int {
    let taken = min(max(limit, 0), count)
    if offsetMask != 0 { return forEachAtOffset(taken, body) }
    var index = position
    var left = taken
    // The loop below is optimized for many packets.
    if taken == 1 {
      unsafe body(Packet(ring, ring.place(index).snapshot(), 0))
      advance()
      return 1
    }
    while left > 0 {
      // A stretch does not wrap, so that each slot costs one addition.
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

  // Inlined, although few rings have offsets: otherwise the captures of `body` would live in memory, also in
  // the other loops.
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

  /// Takes up to `limit` packets without reading them.
  ///
  /// - Returns: The number of slots taken.
  @inlinable
  @discardableResult
  public mutating func skip(_ limit: Int = .max) -> Int {
    let taken = min(max(limit, 0), count)
    unsafe move(to: ring.index(position, advancedBy: taken))
    return taken
  }

  /// Makes the next wait sleep until more packets arrive, even if packets are left (`cur = tail`).
  public mutating func waitForMore() {
    unsafe ring.cur = end
  }

  /// The ring in shared memory, for uses that this interface does not cover.
  ///
  /// The caller is responsible for every index that it writes. The next sync resets a ring in an illegal state.
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

/// A received packet, or one fragment of a packet.
@safe @frozen
public struct Packet: ~Escapable {
  /// The bytes, in the buffer they arrived in.
  public let bytes: RawSpan

  /// The slot at the time the packet was taken.
  public let slot: Slot

  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(_ ring: Ring, _ slot: Slot, _ offsetMask: UInt64) {
    self.slot = slot
    // The peer wrote offset and length; never read past the end of the buffer.
    let size = unsafe Int(ring.bufferSize)
    let offset =
      offsetMask == 0
      ? 0 : Int(truncatingIfNeeded: min(slot.pointer & offsetMask, UInt64(size)))
    let span = unsafe RawSpan(
      _unsafeStart: ring.buffer(slot.bufferIndex) + offset,
      byteCount: min(Int(slot.length), size &- offset))
    // The caller of this initializer ties the packet's lifetime to the ring.
    bytes = unsafe _overrideLifetime(span, copying: ())
  }

  /// Whether the packet continues in the next slot.
  @inlinable
  public var hasMoreFragments: Bool { slot.flags.contains(.moreFragments) }
}
