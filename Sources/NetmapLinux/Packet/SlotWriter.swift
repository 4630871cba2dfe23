internal import NetmapCore

/// Writes packets into the free slots of a receive ring, from `hwtail` on.
///
/// The caller has read `hwtail`, and checked that it is a slot of the ring. A packet is written whole or not at
/// all. The application sees no packet before the caller stores ``tail`` in the kring.
@unsafe
struct SlotWriter {
  private let ring: MappedRing
  private let ownership: BufferOwnership
  /// The slot to write next.
  private(set) var tail: UInt32
  /// Slots that may be written.
  private(set) var room: UInt32
  private(set) var packets: UInt64 = 0
  private(set) var bytes: UInt64 = 0

  /// The most bytes that a slot takes.
  private let capacity: Int
  /// Whether slots say where in their buffers they want packets.
  private let hasOffsets: Bool

  // The slot under construction.
  private var buffer: UnsafeMutableRawPointer
  private var filled = 0

  @inline(__always)
  init(
    _ ring: MappedRing, from first: UInt32, releasedUpTo head: UInt32,
    _ ownership: BufferOwnership
  ) {
    unsafe self.ring = unsafe ring
    unsafe self.ownership = ownership
    unsafe tail = first
    let end = unsafe head == 0 ? ring.ring.slotCount - 1 : head - 1
    unsafe room = ring.ring.distance(from: first, to: end)
    unsafe buffer = ring.ring.buffers
    unsafe hasOffsets = ring.kring.offsetMask != 0
    unsafe capacity =
      hasOffsets ? ring.kring.receiveRoom(ring.ring.rule) : Int(ring.ring.bufferSize)
  }

  /// Whether a packet of `length` bytes fits the ring when all slots are free.
  func canEverFit(_ length: Int) -> Bool {
    unsafe slots(length) < ring.ring.slotCount
  }

  /// The slots that a packet takes; more than any ring has when slots take nothing.
  @inline(__always)
  private func slots(_ length: Int) -> UInt32 {
    let size = unsafe capacity
    if length <= size { return 1 }
    return size == 0 ? .max : UInt32(truncatingIfNeeded: (length + size - 1) / size)
  }

  /// Writes a packet that lies in one piece.
  ///
  /// - Parameters:
  ///   - data: The packet.
  ///   - length: The packet's length, bytes.
  ///   - tag: Type and control information of the VLAN tag to insert, 0 for none.
  /// - Returns: False when there is not enough room for all of it.
  @inline(__always)
  mutating func write(_ data: UnsafeMutableRawPointer, _ length: Int, tag: UInt32) -> Bool {
    if unsafe tag == 0 && length <= capacity {
      guard unsafe room > 0 else { return false }
      unsafe open()
      unsafe buffer.copyMemory(from: data, byteCount: length)
      unsafe filled = length
      unsafe close(SlotFlags(rawValue: 0))
      unsafe count(length)
      return true
    }
    return unsafe write(data, length, data, 0, tag: tag)
  }

  /// Writes a packet that lies in two pieces, headers and payload. The Ethernet addresses are in the first piece.
  @inline(never)
  mutating func write(
    _ first: UnsafeMutableRawPointer, _ firstBytes: Int,
    _ second: UnsafeMutableRawPointer, _ secondBytes: Int, tag: UInt32
  ) -> Bool {
    let total = firstBytes + secondBytes + (tag == 0 ? 0 : 4)
    guard unsafe slots(total) <= room else { return false }
    unsafe open()
    if tag == 0 || firstBytes < 12 {
      unsafe append(first, firstBytes)
    } else {
      unsafe append(first, 12)
      var network = tag.bigEndian
      unsafe withUnsafeMutableBytes(of: &network) { bytes in
        if let base = bytes.baseAddress { unsafe append(base, 4) }
      }
      unsafe append(first + 12, firstBytes - 12)
      unsafe ring.kring.count(.restoredTags)
    }
    unsafe append(second, secondBytes)
    unsafe close(SlotFlags(rawValue: 0))
    unsafe count(total)
    return true
  }

  @inline(__always)
  private mutating func count(_ length: Int) {
    unsafe packets &+= 1
    unsafe bytes &+= UInt64(length)
  }

  @inline(__always)
  private mutating func open() {
    unsafe buffer = ring.ring.buffer(ring.writableBuffer(tail, ownership))
    if unsafe hasOffsets { unsafe buffer += ring.settleOffset(tail) }
    unsafe filled = 0
  }

  @inline(__always)
  private mutating func close(_ flags: SlotFlags) {
    unsafe ring.ring.place(tail).store(
      length: UInt16(truncatingIfNeeded: filled), flags: flags)
    unsafe tail = ring.ring.next(tail)
    unsafe room &-= 1
  }

  private mutating func append(_ data: UnsafeMutableRawPointer, _ count: Int) {
    let size = unsafe capacity
    var done = 0
    while done < count {
      if unsafe filled == size {
        unsafe close(.moreFragments)
        unsafe open()
      }
      let part = unsafe min(count - done, size - filled)
      unsafe (buffer + filled).copyMemory(from: data + done, byteCount: part)
      unsafe filled += part
      done += part
    }
  }
}
