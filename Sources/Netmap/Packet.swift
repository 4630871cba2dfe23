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

  /// For a packet of several slots, what the port knows of the ring and of the packet; nil for a packet in one slot.
  ///
  /// A pointer and no more: if a `Packet` were larger, the compiler would keep it in memory, which trebles the cost of
  /// the loops over packets.
  @usableFromInline let several: UnsafePointer<RingOrigin>?

  /// - Parameters:
  ///   - ring: The ring.
  ///   - slot: The first slot, as loaded.
  ///   - offsetMask: The bits of a slot's pointer that hold an offset.
  ///   - several: For a packet of several slots, the ring's origin, which describes the packet.
  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(
    _ ring: Ring, _ slot: Slot, _ offsetMask: UInt64, several: UnsafePointer<RingOrigin>? = nil
  ) {
    self.slot = slot
    unsafe self.several = several
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
  public var fragmentCount: Int {
    guard let several = unsafe several else { return 1 }
    return unsafe several.pointee.packet.count
  }

  /// Whether the ring holds the packet's last fragment.
  ///
  /// False for a packet that is longer than the ring: the following fragments arrive as a packet of their own. Also
  /// false for a fragment that ``ReceiveRing/nextSlot()`` or `ReceiveRing.forEachSlot(upTo:_:)` took and that the
  /// packet does not end with.
  @inlinable
  public var isComplete: Bool {
    guard let several = unsafe several else { return !slot.flags.contains(.moreFragments) }
    return unsafe several.pointee.packet.isComplete
  }

  /// The length of the packet in bytes, all fragments included.
  @inlinable
  public var length: Int {
    if unsafe several == nil { return bytes.byteCount }
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
    guard let several = unsafe several else { return }
    let (ring, packet) = unsafe (several.pointee.ring, several.pointee.packet)
    let offsetMask = unsafe ring.offsetMask
    var next = unsafe ring.next(packet.first)
    for _ in 1..<packet.count {
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
