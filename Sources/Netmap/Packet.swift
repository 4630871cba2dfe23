public import NetmapCore

/// A received packet, in the buffers it arrived in.
///
/// Most packets fit one buffer, and ``bytes`` is the whole packet. A packet that is longer spans several slots, its
/// fragments; read it with ``forEachFragment(_:)`` or copy it with ``copy(into:)`` or `Array(packet)`.
///
/// The bytes stay unchanged until the next sync or wait of the port. A packet cannot outlive the view of the ring
/// that it was taken from.
@safe @frozen
public struct Packet: ~Escapable {
  /// The bytes in the packet's first slot: the whole packet if ``fragmentCount`` is 1.
  public let bytes: RawSpan

  /// The packet's first slot, at the time the packet was taken.
  public let slot: Slot

  /// The number of slots that a packet takes.
  @frozen @usableFromInline
  struct Fragments {
    @usableFromInline let count: Int
    @usableFromInline let isComplete: Bool

    @inlinable
    init(count: Int, isComplete: Bool) {
      self.count = count
      self.isComplete = isComplete
    }
  }

  @usableFromInline let ring: Ring
  @usableFromInline let offsetMask: UInt64
  /// The packet's first slot in the ring; used only if there are several.
  @usableFromInline let index: UInt32
  @usableFromInline let fragments: Fragments

  /// A packet in one slot, or one fragment.
  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(_ ring: Ring, _ slot: Slot, _ offsetMask: UInt64) {
    unsafe self.init(
      ring, slot, offsetMask, at: 0, Fragments(count: 1, isComplete: true))
  }

  /// - Parameters:
  ///   - ring: The ring.
  ///   - slot: The first slot, as loaded.
  ///   - offsetMask: The bits of a slot's pointer that hold an offset.
  ///   - index: The first slot's place in the ring.
  ///   - fragments: The slots of the packet, all of them the application's.
  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(
    _ ring: Ring, _ slot: Slot, _ offsetMask: UInt64, at index: UInt32, _ fragments: Fragments
  ) {
    self.slot = slot
    unsafe self.ring = unsafe ring
    self.offsetMask = offsetMask
    self.index = index
    self.fragments = fragments
    // The caller of this initializer ties the packet's lifetime to the ring.
    bytes = unsafe _overrideLifetime(Self.bytes(of: slot, ring, offsetMask), copying: ())
  }

  /// The bytes of a slot.
  ///
  /// The peer wrote offset and length, so both are limited: the bytes never reach past the end of the buffer.
  @inlinable @inline(__always)
  @_lifetime(immortal)
  static func bytes(of slot: Slot, _ ring: Ring, _ offsetMask: UInt64) -> RawSpan {
    let size = unsafe Int(ring.bufferSize)
    let offset =
      offsetMask == 0
      ? 0 : Int(truncatingIfNeeded: min(slot.pointer & offsetMask, UInt64(size)))
    let span = unsafe RawSpan(
      _unsafeStart: ring.buffer(slot.bufferIndex) + offset,
      byteCount: min(Int(slot.length), size &- offset))
    return unsafe _overrideLifetime(span, copying: ())
  }

  /// The number of slots that the packet takes, at least 1.
  @inlinable
  public var fragmentCount: Int { fragments.count }

  /// Whether the ring holds the packet's last fragment.
  ///
  /// False for a packet that is longer than the ring: the following fragments arrive as a packet of their own. Also
  /// false for a fragment that ``ReceiveRing/nextSlot()`` or ``ReceiveRing/forEachSlot(upTo:_:)`` took and that the
  /// packet does not end with.
  @inlinable
  public var isComplete: Bool {
    fragments.count == 1 ? !slot.flags.contains(.moreFragments) : fragments.isComplete
  }

  /// The length of the packet in bytes, all fragments included.
  @inlinable
  public var length: Int {
    if fragments.count == 1 { return bytes.byteCount }
    var sum = 0
    forEachFragment { sum &+= $0.byteCount }
    return sum
  }

  /// Calls `body` with the bytes of each fragment, in order; once for a packet in one slot.
  ///
  /// - Throws: What `body` throws.
  @inlinable
  public func forEachFragment<E>(_ body: (RawSpan) throws(E) -> Void) throws(E) {
    try body(bytes)
    guard fragments.count > 1 else { return }
    var next = unsafe ring.next(index)
    for _ in 1..<fragments.count {
      // Loaded once: a peer may write to the slot meanwhile.
      let slot = unsafe ring.load(next)
      try body(unsafe Self.bytes(of: slot, ring, offsetMask))
      next = unsafe ring.next(next)
    }
  }

  /// Copies the packet, all fragments included.
  ///
  /// - Parameter target: Receives the packet from its first byte on.
  /// - Returns: The number of bytes copied: ``length``, or the size of `target` if the packet is longer.
  @inlinable
  @discardableResult
  public func copy(into target: inout MutableRawSpan) -> Int {
    var copied = 0
    forEachFragment { fragment in
      let count = min(fragment.byteCount, target.byteCount &- copied)
      guard count > 0 else { return }
      unsafe target.withUnsafeMutableBytes { target in
        unsafe fragment.withUnsafeBytes { source in
          guard let start = target.baseAddress, let from = source.baseAddress else { return }
          unsafe (start + copied).copyMemory(from: from, byteCount: count)
        }
      }
      copied &+= count
    }
    return copied
  }
}

extension [UInt8] {
  /// A copy of a packet, all fragments included.
  public init(_ packet: borrowing Packet) {
    self = []
    reserveCapacity(packet.bytes.byteCount)
    packet.forEachFragment { fragment in
      unsafe fragment.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }
  }
}
