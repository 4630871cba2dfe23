public import NetmapCore

/// A received packet that the program keeps, in the buffer it arrived in, for longer than its slot.
///
/// ``ReceiveRing/keepNext()`` takes the packet's buffer out of the ring and leaves one of the port's extra buffers in
/// its place, so no byte is copied. ``TransmitRing/append(_:)`` sends the packet. When a kept packet is discarded
/// instead, its buffer becomes an extra buffer of the port again.
///
/// A kept packet stays valid after its port was closed and deallocated; the engine reuses the memory of the port's rings
/// only after the last kept packet is gone. When the process is killed, the engine takes back the buffers of all kept
/// packets.
///
/// Only one thread at a time may use a port and the packets kept from it.
@safe
public struct KeptPacket: ~Copyable {
  private let pool: ExtraBufferPool
  private let start: UnsafeMutableRawPointer
  /// Bytes before the packet in its buffer.
  fileprivate let offset: Int
  /// 0 when the packet has no buffer any more.
  private var index: UInt32
  /// The buffer's place in the pool's table.
  private let entry: Int

  /// Bytes in the packet.
  public let length: Int

  init(
    _ pool: ExtraBufferPool, _ entry: Int, _ ring: Ring, _ index: UInt32, offset: Int, length: Int
  ) {
    self.pool = pool
    self.entry = entry
    unsafe start = unsafe ring.buffer(index) + offset
    self.offset = offset
    self.index = index
    self.length = length
  }

  deinit {
    if index != 0 { pool.give(index, entry) }
  }

  /// The packet's bytes.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    borrowing get {
      let span = unsafe RawSpan(_unsafeStart: start, byteCount: length)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The packet's bytes, which the program may change.
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

  /// Puts the packet's buffer into a slot; the slot's former buffer becomes an extra buffer of the packet's port.
  fileprivate mutating func exchange(with slot: UInt32, of ring: Ring, for former: UInt32) {
    unsafe pool.send(index, entry, length: length, in: slot, of: ring, for: former)
    index = 0
  }
}

extension ReceiveRing {
  /// Takes the next packet and its buffer out of the ring, without copying the packet.
  ///
  /// An extra buffer of the port takes the place of the packet's buffer; see ``NetmapPort/spareBufferCount``. If the
  /// process is killed during the call, the slot may stay in the ring as an empty packet.
  ///
  /// - Returns: The packet; nil when all packets have been taken.
  /// - Throws: ``NetmapError`` `ENOMEM` when the port has no extra buffer left, `EMSGSIZE` for a packet that spans
  ///   several slots, `EIO` for a slot in which a peer has put no valid buffer. The packet then stays in the ring.
  public mutating func keepNext() throws(NetmapError) -> KeptPacket? {
    guard position != end else { return nil }
    let slot = unsafe ring.load(position)
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
    guard let pool = unsafe origin.pointee.pool?.takeUnretainedValue(),
      let entry = unsafe pool.keep(slot.bufferIndex, in: position, of: ring)
    else {
      throw NetmapError(
        .outOfMemory, "keep", "packet", reason: "the port has no extra buffer left",
        remedy: "open the port with more (extraBuffers:), or discard kept packets")
    }
    let rule = unsafe ring.rule
    let offset = rule.offset(of: slot.pointer, mask: offsetMask)
    advance()
    return unsafe KeptPacket(
      pool, entry, ring, slot.bufferIndex, offset: offset,
      length: rule.truncated(UInt32(slot.length), at: offset))
  }
}

extension TransmitRing {
  /// Appends a kept packet: without a copy if the packet's port shares memory with this one.
  ///
  /// - Parameter packet: The packet; nil afterwards if it was appended.
  /// - Returns: False when there is no free slot, or `packet` is nil.
  public mutating func append(_ packet: inout KeptPacket?) -> Bool {
    guard position != end, var kept = packet.take() else { return false }
    let former = unsafe ring.load(position)
    let offset = unsafe ring.rule.offset(of: former.pointer, mask: offsetMask)
    guard unsafe kept.isInMemory(of: origin), unsafe ring.hasBuffer(former.bufferIndex),
      offset == kept.offset
    else {
      let isAppended = append(kept.bytes)
      if !isAppended { packet = consume kept }
      return isAppended
    }
    unsafe kept.exchange(with: position, of: ring, for: former.bufferIndex)
    advance()
    return true
  }
}
