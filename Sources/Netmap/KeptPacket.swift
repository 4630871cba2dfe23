public import NetmapCore

/// A received packet that the program keeps, in the buffer it arrived in, for longer than its slot.
///
/// ``ReceiveRing/keepNext()`` takes the packet's buffer out of the ring and leaves one of the port's extra buffers in
/// its place, so no byte is copied. ``TransmitRing/append(_:)-(KeptPacket?)`` sends the packet. If the value ends
/// otherwise, its buffer becomes an extra buffer of the port again.
///
/// The bytes can be read after the port was closed. End all kept packets before closing the port, however: their
/// buffers are missing in the memory region otherwise, until its last port is closed.
///
/// As for a port, only one thread at a time uses a kept packet and the port it comes from.
@safe
public struct KeptPacket: ~Copyable {
  private let pool: ExtraBufferPool
  private let start: UnsafeMutableRawPointer
  /// Bytes before the packet in its buffer.
  fileprivate let offset: Int
  /// 0 when the packet has no buffer any more.
  fileprivate var index: UInt32

  /// Bytes in the packet.
  public let length: Int

  init(_ pool: ExtraBufferPool, _ ring: Ring, _ index: UInt32, offset: Int, length: Int) {
    self.pool = pool
    unsafe start = unsafe ring.buffer(index) + offset
    self.offset = offset
    self.index = index
    self.length = length
  }

  deinit {
    if index != 0 { pool.give(index) }
  }

  /// The packet.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    borrowing get {
      let span = unsafe RawSpan(_unsafeStart: start, byteCount: length)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The packet, for changes.
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: length)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// Whether the buffer is in the region of a ring with this origin.
  fileprivate func isInMemory(of origin: UnsafePointer<RingOrigin>) -> Bool {
    unsafe pool.origin.isSameMemory(as: origin)
  }

  /// Gives the packet's buffer away, and gets another one for it.
  fileprivate mutating func exchangeBuffer(for other: UInt32) {
    pool.give(other)
    index = 0
  }
}

extension ReceiveRing {
  /// Takes the next packet and its buffer out of the ring, without copying the packet.
  ///
  /// An extra buffer of the port takes the place of the packet's buffer; see ``NetmapPort/spareBufferCount``.
  ///
  /// - Returns: The packet; nil when all packets have been taken.
  /// - Throws: ``NetmapError`` `ENOMEM` when the port has no extra buffer left, `EMSGSIZE` for a packet that spans
  ///   several slots, `EIO` for a slot in which a peer has put no valid buffer. The packet then stays in the ring.
  public mutating func keepNext() throws(NetmapError) -> KeptPacket? {
    guard position != end else { return nil }
    let place = unsafe ring.place(position)
    let slot = unsafe place.load()
    guard !slot.flags.contains(.moreFragments) else {
      throw NetmapError(
        .messageTooLong, "keep", "packet", reason: "it spans several slots",
        remedy: "copy it with Array(packet)")
    }
    guard unsafe ring.hasBuffer(slot.bufferIndex) else {
      throw NetmapError(
        .inputOutput, "keep", "packet",
        reason:
          "another process wrote buffer \(slot.bufferIndex) to its slot, which does not exist",
        remedy: "skip the packet with next()")
    }
    guard let pool = unsafe origin.pointee.pool?.takeUnretainedValue(), let spare = pool.take()
    else {
      throw NetmapError(
        .outOfMemory, "keep", "packet", reason: "the port has no extra buffer left",
        remedy: "open the port with more (extraBuffers:), or end kept packets")
    }
    let size = unsafe Int(ring.bufferSize)
    let offset = Int(truncatingIfNeeded: min(slot.pointer & offsetMask, UInt64(size)))
    let packet = unsafe KeptPacket(
      pool, ring, slot.bufferIndex, offset: offset, length: min(Int(slot.length), size - offset))
    unsafe place.store(SlotWord(bufferIndex: spare, length: 0, flags: .bufferChanged))
    advance()
    return packet
  }
}

extension TransmitRing {
  /// Appends a kept packet: without a copy if the packet's port shares memory with this one.
  ///
  /// - Parameter packet: The packet; nil afterwards if it was appended.
  /// - Returns: False when there is no free slot, or `packet` is nil.
  public mutating func append(_ packet: inout KeptPacket?) -> Bool {
    guard position != end, var kept = packet.take() else { return false }
    let place = unsafe ring.place(position)
    let former = unsafe place.load()
    let offset = Int(truncatingIfNeeded: former.pointer & offsetMask)
    guard unsafe kept.isInMemory(of: origin), unsafe ring.hasBuffer(former.bufferIndex),
      offset == kept.offset
    else {
      let isAppended = append(kept.bytes)
      if !isAppended { packet = consume kept }
      return isAppended
    }
    unsafe place.store(
      SlotWord(
        bufferIndex: kept.index, length: UInt16(truncatingIfNeeded: kept.length),
        flags: .bufferChanged))
    kept.exchangeBuffer(for: former.bufferIndex)
    advance()
    return true
  }
}
