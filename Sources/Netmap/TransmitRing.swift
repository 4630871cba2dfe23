public import NetmapCore

/// The free slots of a transmit ring, filled in order.
///
/// Appended packets leave at the next sync or wait of the port. The view keeps the amount of room that it found
/// at its creation, and cannot outlive the port.
///
/// With offsets (`@offset`), a packet begins in its buffer at the offset in its slot. A packet that does not
/// fit behind the offset is not appended, as if there were no free slot.
///
/// ```swift
/// var ring = port.transmitRing(0)
/// while ring.append(frame.span.bytes) {}
/// try port.sync(.transmit)
/// ```
@safe @frozen
public struct TransmitRing: ~Copyable, ~Escapable {
  @usableFromInline let ring: Ring
  @usableFromInline let origin: UnsafeMutablePointer<RingOrigin>
  /// The bits of a slot's pointer that hold the packet's offset in its buffer; 0 without offsets.
  @usableFromInline let offsetMask: UInt64
  /// The next slot to fill: the ring's head.
  @usableFromInline var position: UInt32
  /// The first slot that is not free.
  @usableFromInline let end: UInt32

  @inlinable
  @_lifetime(immortal)
  init(_ ring: Ring, _ origin: UnsafeMutablePointer<RingOrigin>) {
    unsafe self.ring = ring
    unsafe self.origin = origin
    offsetMask = unsafe ring.offsetMask
    // Another process may have written the cursors. Out of range means "no room" here; the next sync resets the
    // ring.
    let (head, tail) = unsafe (ring.head, ring.tail)
    let isSound = unsafe head < ring.slotCount && tail < ring.slotCount
    position = isSound ? head : 0
    end = isSound ? tail : 0
  }

  /// Number of free slots.
  @inlinable
  public var space: Int { unsafe Int(ring.distance(from: position, to: end)) }

  /// Whether no free slot is left.
  @inlinable
  public var isFull: Bool { position == end }

  /// Number of slots in the ring; one of them always stays empty.
  @inlinable
  public var slotCount: Int { unsafe Int(ring.slotCount) }

  /// Bytes in a buffer: the most that one slot holds.
  @inlinable
  public var bufferSize: Int { unsafe Int(ring.bufferSize) }

  /// Appends a copy of `bytes` as a packet.
  ///
  /// A packet that is longer than a buffer takes several slots, with `.moreFragments` set in all but the last.
  ///
  /// - Parameters:
  ///   - bytes: The packet. An empty packet takes one slot.
  ///   - flags: Flags of the packet's last slot: `.moreFragments` if the packet continues in the next slot,
  ///     `.report`, ...
  /// - Returns: False when the free slots do not hold the whole packet; then nothing is appended.
  @inlinable
  public mutating func append(_ bytes: RawSpan, flags: SlotFlags = []) -> Bool {
    guard position != end else { return false }
    guard offsetMask == 0, bytes.byteCount <= bufferSize else {
      return appendFragments(of: bytes, flags)
    }
    let slot = unsafe ring.place(position)
    unsafe bytes.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      unsafe payload(slot).copyMemory(from: start, byteCount: source.count)
    }
    unsafe commit(slot, length: bytes.byteCount, flags)
    return true
  }

  /// Appends a copy of a packet that takes several slots, or of any packet to a ring with offsets.
  ///
  /// Moves the ring's head once, after the last copy. A peer that changes offsets meanwhile changes what is sent, but
  /// every access stays inside the buffers.
  @inline(never)
  @usableFromInline
  @_lifetime(self: copy self)
  mutating func appendFragments(of bytes: RawSpan, _ flags: SlotFlags) -> Bool {
    var (index, copied) = (position, 0)
    while true {
      guard index != end else { return false }
      let slot = unsafe ring.place(index)
      let offset = unsafe offset(of: slot)
      let part = unsafe min(bytes.byteCount &- copied, ring.rule.room(at: offset))
      // No byte fits behind an offset at the end of the buffer.
      guard part > 0 || bytes.isEmpty else { return false }
      unsafe bytes.withUnsafeBytes { source in
        guard let start = source.baseAddress else { return }
        unsafe (ring.buffer(slot.loadBufferIndex()) + offset)
          .copyMemory(from: start + copied, byteCount: part)
      }
      copied &+= part
      let isLast = copied == bytes.byteCount
      unsafe slot.store(
        length: UInt16(truncatingIfNeeded: part),
        flags: isLast ? flags : flags.union(.moreFragments))
      index = unsafe ring.next(index)
      guard !isLast else { break }
    }
    move(to: index)
    return true
  }

  /// Appends a packet that `fill` writes into the next free buffer.
  ///
  /// The buffer still holds the bytes of its last packet. A program that sends the same packet repeatedly can
  /// rely on that.
  ///
  /// - Parameters:
  ///   - length: Bytes in the packet, at most ``bufferSize``; more traps.
  ///   - flags: As in ``append(_:flags:)``.
  ///   - fill: Writes into the `length` bytes. Called once, unless there is no free slot.
  /// - Returns: False when there is no free slot.
  @inlinable
  public mutating func append(
    length: Int, flags: SlotFlags = [], _ fill: (inout MutableRawSpan) -> Void
  ) -> Bool {
    guard position != end else { return false }
    precondition(fits(length), "the packet does not fit a buffer")
    if offsetMask != 0 {
      return appendAtOffsets(1, length: length, flags) { _, bytes in fill(&bytes) } == 1
    }
    let slot = unsafe ring.place(position)
    var span = unsafe MutableRawSpan(_unsafeStart: payload(slot), byteCount: length)
    fill(&span)
    unsafe commit(slot, length: length, flags)
    return true
  }

  /// Appends the first `length` bytes of the next free buffer, without changing them.
  ///
  /// - Parameters:
  ///   - length: Bytes in the packet, at most ``bufferSize``; more traps.
  ///   - flags: As in ``append(_:flags:)``.
  /// - Returns: False when there is no free slot.
  @inlinable
  public mutating func append(length: Int, flags: SlotFlags = []) -> Bool {
    guard position != end else { return false }
    precondition(fits(length), "the packet does not fit a buffer")
    let slot = unsafe ring.place(position)
    if offsetMask != 0 { return appendAtOffsets(1, length: length, flags) { _, _ in } == 1 }
    unsafe commit(slot, length: length, flags)
    return true
  }

  /// Appends up to `limit` packets of `length` bytes without changing the buffers.
  ///
  /// - Parameters:
  ///   - limit: The maximum number of packets.
  ///   - length: Bytes in each packet, at most ``bufferSize``; more traps.
  ///   - flags: As in ``append(_:flags:)``.
  /// - Returns: The number of packets appended.
  @inlinable
  public mutating func append(upTo limit: Int, length: Int, flags: SlotFlags = []) -> Int {
    // The loop below is optimized for many packets.
    if limit == 1 { return append(length: length, flags: flags) ? 1 : 0 }
    precondition(fits(length), "the packet does not fit a buffer")
    let count = min(max(limit, 0), space)
    if offsetMask != 0 { return appendAtOffsets(count, length: length, flags) { _, _ in } }
    // As in `append(upTo:length:flags:_:)`, without reading buffer indexes.
    var index = position
    var left = count
    while left > 0 {
      let stretch = unsafe min(left, Int(ring.slotCount &- index))
      var slot = unsafe ring.place(index)
      for _ in 0..<stretch {
        unsafe slot.store(length: UInt16(truncatingIfNeeded: length), flags: flags)
        unsafe slot += 1
      }
      left &-= stretch
      index = unsafe ring.index(index, advancedBy: stretch)
    }
    move(to: index)
    return count
  }

  /// Appends up to `limit` packets of `length` bytes that `fill` writes: the fastest way to send many packets.
  ///
  /// The ring's head moves once, after the last packet.
  ///
  /// - Parameters:
  ///   - limit: The maximum number of packets.
  ///   - length: Bytes in each packet, at most ``bufferSize``; more traps.
  ///   - flags: As in ``append(_:flags:)``.
  ///   - fill: Writes one packet, given its number, counted from 0, and its bytes.
  /// - Returns: The number of packets appended.
  @inlinable
  public mutating func append(
    upTo limit: Int, length: Int, flags: SlotFlags = [],
    _ fill: (_ number: Int, _ bytes: inout MutableRawSpan) -> Void
  ) -> Int {
    precondition(fits(length), "the packet does not fit a buffer")
    if offsetMask != 0 {
      return appendAtOffsets(min(max(limit, 0), space), length: length, flags, fill)
    }
    // The loop below is optimized for many packets.
    if limit == 1 {
      guard position != end else { return 0 }
      let slot = unsafe ring.place(position)
      var span = unsafe MutableRawSpan(_unsafeStart: payload(slot), byteCount: length)
      fill(0, &span)
      unsafe commit(slot, length: length, flags)
      return 1
    }
    let count = min(max(limit, 0), space)
    var index = position
    var number = 0
    while number < count {
      // A stretch does not wrap, so that each slot costs one addition.
      let stretch = unsafe min(count &- number, Int(ring.slotCount &- index))
      var slot = unsafe ring.place(index)
      for _ in 0..<stretch {
        var span = unsafe MutableRawSpan(
          _unsafeStart: ring.buffer(slot.snapshotBufferIndex()), byteCount: length)
        fill(number, &span)
        unsafe slot.store(length: UInt16(truncatingIfNeeded: length), flags: flags)
        number &+= 1
        unsafe slot += 1
      }
      index = unsafe ring.index(index, advancedBy: stretch)
    }
    move(to: index)
    return count
  }

  // Inlined, although few rings have offsets: otherwise the captures of `fill` would live in memory, also in
  // the other loops.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func appendAtOffsets(
    _ count: Int, length: Int, _ flags: SlotFlags,
    _ fill: (_ number: Int, _ bytes: inout MutableRawSpan) -> Void
  ) -> Int {
    var index = position
    var number = 0
    while number < count {
      let slot = unsafe ring.place(index)
      let offset = unsafe offset(of: slot)
      // A peer may have written the slot, so a bad offset must not trap.
      guard unsafe length <= ring.rule.room(at: offset) else { break }
      var span = unsafe MutableRawSpan(
        _unsafeStart: ring.buffer(slot.snapshotBufferIndex()) + offset, byteCount: length)
      fill(number, &span)
      unsafe slot.store(length: UInt16(truncatingIfNeeded: length), flags: flags)
      index = unsafe ring.next(index)
      number &+= 1
    }
    move(to: index)
    return number
  }

  /// Makes the next wait for room sleep until there is more room than now (`cur = tail`).
  public mutating func waitForMore() {
    unsafe ring.cur = end
  }

  /// The ring in shared memory, for uses that this interface does not cover.
  ///
  /// The caller is responsible for every index that it writes. The next sync resets a ring in an illegal state.
  @unsafe @inlinable
  public var unsafeRing: Ring { unsafe ring }

  /// Whether a packet of this length fits a buffer.
  ///
  /// The unsigned comparison also rejects a negative length.
  @inlinable @inline(__always)
  func fits(_ length: Int) -> Bool { unsafe UInt(bitPattern: length) <= UInt(ring.bufferSize) }

  /// Start of the packet in a slot, in a ring without offsets.
  @inlinable @inline(__always)
  func payload(_ slot: SlotPlace) -> UnsafeMutableRawPointer {
    unsafe ring.buffer(slot.snapshotBufferIndex())
  }

  /// Offset of a slot's packet in its buffer, in bytes, at most ``bufferSize``.
  @inlinable
  func offset(of slot: SlotPlace) -> Int {
    unsafe ring.rule.offset(of: slot.loadPointer(), mask: offsetMask)
  }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func commit(_ slot: SlotPlace, length: Int, _ flags: SlotFlags) {
    unsafe slot.store(length: UInt16(truncatingIfNeeded: length), flags: flags)
    advance()
  }

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
