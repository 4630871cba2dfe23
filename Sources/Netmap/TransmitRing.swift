public import NetmapCore

/// The free slots of a transmit ring, to be filled in order.
///
/// What is appended leaves at the next sync or wait of the port. The view remembers how much room
/// there was when it was taken, and cannot outlive the port.
///
/// Where offsets are in use (`@offset`), a packet begins as far into its buffer as its slot says. One that
/// does not fit behind that is not appended: as if there were no free slot.
///
/// ```swift
/// var ring = port.transmitRing(0)
/// while ring.append(frame.span.bytes) {}
/// try port.sync(.transmit)
/// ```
@safe @frozen
public struct TransmitRing: ~Copyable, ~Escapable {
  @usableFromInline let ring: Ring
  @usableFromInline let origin: UnsafePointer<RingOrigin>
  /// Bits of a slot's pointer that say where in its buffer a packet begins; 0 where offsets are not in use.
  @usableFromInline let offsetMask: UInt64
  /// The next slot to fill: the ring's head.
  @usableFromInline var position: UInt32
  /// The first slot that is not free.
  @usableFromInline let end: UInt32

  @inlinable
  @_lifetime(immortal)
  init(_ ring: Ring, _ origin: UnsafePointer<RingOrigin>) {
    unsafe self.ring = ring
    unsafe self.origin = origin
    offsetMask = unsafe ring.offsetMask
    // Another process may have written these: out of range means "no room" here, and the next sync
    // resets the ring.
    let (head, tail) = unsafe (ring.head, ring.tail)
    let isSound = unsafe head < ring.slotCount && tail < ring.slotCount
    position = isSound ? head : 0
    end = isSound ? tail : 0
  }

  /// Free slots.
  @inlinable
  public var space: Int { unsafe Int(ring.distance(from: position, to: end)) }

  /// Whether there is no free slot left.
  @inlinable
  public var isFull: Bool { position == end }

  /// Slots in the ring. One of them always stays empty.
  public var slotCount: Int { unsafe Int(ring.slotCount) }

  /// Bytes in a buffer: the most that one slot holds.
  @inlinable
  public var bufferSize: Int { unsafe Int(ring.bufferSize) }

  /// Sends a copy of `bytes` as a packet of one slot.
  ///
  /// - Parameters:
  ///   - bytes: At most ``bufferSize`` bytes; more traps. `Port.inject(_:)` splits longer packets.
  ///   - flags: `.moreFragments` if the packet goes on in the next slot, `.report`, ...
  /// - Returns: False, and nothing is sent, when there is no free slot.
  @inlinable
  @discardableResult
  public mutating func append(_ bytes: RawSpan, flags: SlotFlags = []) -> Bool {
    guard position != end else { return false }
    precondition(bytes.byteCount <= bufferSize, "the packet does not fit a buffer")
    if offsetMask != 0 {
      return appendAtOffsets(1, length: bytes.byteCount, flags) { _, target in
        for offset in 0..<bytes.byteCount {
          unsafe target.storeBytes(
            of: bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self), toByteOffset: offset,
            as: UInt8.self)
        }
      } == 1
    }
    let slot = unsafe ring.place(position)
    unsafe bytes.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      unsafe payload(slot).copyMemory(from: start, byteCount: source.count)
    }
    unsafe commit(slot, length: bytes.byteCount, flags)
    return true
  }

  /// Sends a packet that `fill` writes into the next free buffer.
  ///
  /// The buffer holds whatever the last packet in it left there, which a program that sends the same
  /// packet again and again can rely on.
  ///
  /// - Parameters:
  ///   - length: Bytes of the packet, at most ``bufferSize``; more traps.
  ///   - flags: As in ``append(_:flags:)``.
  ///   - fill: Writes into the `length` bytes. Called once, unless there is no free slot.
  /// - Returns: False when there is no free slot.
  @inlinable
  @discardableResult
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

  /// Sends the next buffer as it is: `length` bytes of whatever it holds.
  ///
  /// - Returns: False when there is no free slot.
  @inlinable
  @discardableResult
  public mutating func append(length: Int, flags: SlotFlags = []) -> Bool {
    guard position != end else { return false }
    precondition(fits(length), "the packet does not fit a buffer")
    let slot = unsafe ring.place(position)
    if offsetMask != 0 { return appendAtOffsets(1, length: length, flags) { _, _ in } == 1 }
    unsafe commit(slot, length: length, flags)
    return true
  }

  /// Sends up to `limit` packets of `length` bytes, each as its buffer is.
  ///
  /// - Returns: How many there was room for.
  @inlinable
  @discardableResult
  public mutating func append(upTo limit: Int, length: Int, flags: SlotFlags = []) -> Int {
    // What follows is made for many.
    if limit == 1 { return append(length: length, flags: flags) ? 1 : 0 }
    precondition(fits(length), "the packet does not fit a buffer")
    let count = min(max(limit, 0), space)
    if offsetMask != 0 { return appendAtOffsets(count, length: length, flags) { _, _ in } }
    // As below, without a look at the buffers.
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

  /// Sends up to `limit` packets of `length` bytes that `fill` writes: the fastest way to send many.
  ///
  /// The ring's head moves once, after the last packet.
  ///
  /// - Parameters:
  ///   - limit: How many packets at most.
  ///   - length: Bytes of each packet, at most ``bufferSize``; more traps.
  ///   - flags: As in ``append(_:flags:)``.
  ///   - fill: Writes one packet; gets its number, counted from 0, and its bytes.
  /// - Returns: How many there was room for.
  @inlinable
  @discardableResult
  public mutating func append(
    upTo limit: Int, length: Int, flags: SlotFlags = [],
    _ fill: (_ number: Int, _ bytes: inout MutableRawSpan) -> Void
  ) -> Int {
    precondition(fits(length), "the packet does not fit a buffer")
    if offsetMask != 0 {
      return appendAtOffsets(min(max(limit, 0), space), length: length, flags, fill)
    }
    // What follows is made for many.
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
      // A stretch has no wrap in it, so that each slot costs one addition.
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

  // Inlined, although few rings have offsets: what `fill` captures would live in memory otherwise, in the other
  // loops too.
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
      // A peer may have written the slot: that is no reason to trap.
      guard unsafe length <= Int(ring.bufferSize) &- offset else { break }
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

  /// Asks the next wait for room to sleep until there is more room than now (`cur = tail`).
  public mutating func waitForMore() {
    unsafe ring.cur = end
  }

  /// The ring in shared memory, for what this interface does not offer. The caller answers for every
  /// index it writes; a ring left in an illegal state is reset at the next sync.
  @unsafe
  public var unsafeRing: Ring { unsafe ring }

  /// Whether a packet of so many bytes goes into one buffer. One comparison: less than nothing is more than any.
  @inlinable @inline(__always)
  func fits(_ length: Int) -> Bool { unsafe UInt(bitPattern: length) <= UInt(ring.bufferSize) }

  /// Where the packet in a slot begins, where offsets are not in use.
  @inlinable @inline(__always)
  func payload(_ slot: SlotPlace) -> UnsafeMutableRawPointer {
    unsafe ring.buffer(slot.snapshotBufferIndex())
  }

  /// How far into its buffer the packet in a slot begins, at most ``bufferSize``.
  @inlinable
  func offset(of slot: SlotPlace) -> Int {
    let offset = unsafe slot.loadPointer() & offsetMask
    return unsafe Int(truncatingIfNeeded: min(offset, UInt64(ring.bufferSize)))
  }

  /// Bytes that fit the slot `number` free ones from here.
  func room(_ number: Int) -> Int {
    guard offsetMask != 0 else { return bufferSize }
    return unsafe bufferSize - offset(of: ring.place(ring.index(position, advancedBy: number)))
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
