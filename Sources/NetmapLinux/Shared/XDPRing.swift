internal import CLinux
internal import Synchronization

// The four rings that an XDP socket shares with the kernel: <linux/if_xdp.h>, and
// Documentation/networking/af_xdp.rst. Cursors run freely over 32 bits; a position is a cursor modulo
// the ring's size, a power of two.
//
// A sync reads this side's own cursor from the ring and does not remember it, so that any process that maps the
// ring can continue after another one. It does remember the kernel's cursor of a ring that this side fills, in
// memory that all these processes share. It reads that cursor again only when the ring looks full, because the
// cursor lies in a cache line that the kernel writes.
//
// All these processes can write every word here, the kernel's words too. A cursor is loaded once and used as a
// position in the ring. Every number is a valid position, and a count that is computed from two cursors never
// exceeds the size of the ring.

/// A ring that this side fills: the fill ring or the transmit ring.
@unsafe
package struct XDPProducer {
  private let producer: UnsafeMutablePointer<Atomic<UInt32>>
  private let consumer: UnsafeMutablePointer<Atomic<UInt32>>
  private let flags: UnsafeMutablePointer<Atomic<UInt32>>
  private let entries: UnsafeMutableRawPointer
  private let mask: UInt32
  /// The kernel's cursor as it was last seen.
  private let seen: UnsafeMutablePointer<Atomic<UInt32>>

  /// - Parameters:
  ///   - base: Where the ring is mapped; the mapping must outlive the view.
  ///   - offsets: The `XDP_MMAP_OFFSETS` of this kind of ring.
  ///   - size: Entries; a power of two.
  ///   - seen: The word that remembers the kernel's cursor. It must hold a value that the cursor has had: at first
  ///     0.
  init(
    base: UnsafeMutableRawPointer, offsets: xdp_ring_offset, size: UInt32,
    seen: UnsafeMutablePointer<Atomic<UInt32>>
  ) {
    unsafe producer = (base + Int(offsets.producer)).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe consumer = (base + Int(offsets.consumer)).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe flags = (base + Int(offsets.flags)).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe entries = base + Int(offsets.desc)
    unsafe mask = size - 1
    unsafe self.seen = unsafe seen
  }

  /// Where the next entry goes. Entries from here on belong to this side until ``publish(upTo:)``.
  @inline(__always)
  var position: UInt32 { unsafe producer.pointee.load(ordering: .relaxed) }

  /// Entries in the ring.
  @inline(__always)
  var size: UInt32 { unsafe mask &+ 1 }

  /// Whether `count` entries fit behind `position`.
  @inline(__always)
  func hasRoom(for count: UInt32, at position: UInt32) -> Bool {
    if unsafe position &- seenConsumer &+ count <= size { return true }
    return unsafe position &- lookAtConsumer() &+ count <= size
  }

  /// Writes an entry of the fill ring: the address of a chunk.
  @inline(__always)
  func write(_ address: UInt64, at position: UInt32) {
    unsafe entries.storeBytes(
      of: address, toByteOffset: Int(position & mask) &* 8, as: UInt64.self)
  }

  /// Writes an entry of the transmit ring.
  @inline(__always)
  func write(_ descriptor: xdp_desc, at position: UInt32) {
    unsafe entries.storeBytes(
      of: descriptor, toByteOffset: Int(position & mask) &* 16, as: xdp_desc.self)
  }

  /// Hands the entries before `position` to the kernel.
  @inline(__always)
  func publish(upTo position: UInt32) {
    unsafe producer.pointee.store(position, ordering: .releasing)
  }

  /// Whether the ring has entries that the kernel has not taken yet.
  ///
  /// If the cursors are further apart than the ring is long, the answer is no. Otherwise the kernel would go around
  /// the ring, and send whatever lies there, for as long as syncs call it.
  @inline(__always)
  func isPending() -> Bool {
    let pending = unsafe position &- lookAtConsumer()
    return unsafe pending &- 1 < size
  }

  /// The kernel's cursor as it was last seen.
  @inline(__always)
  var seenConsumer: UInt32 { unsafe seen.pointee.load(ordering: .relaxed) }

  @inline(__always)
  private func lookAtConsumer() -> UInt32 {
    let cursor = unsafe consumer.pointee.load(ordering: .acquiring)
    unsafe seen.pointee.store(cursor, ordering: .relaxed)
    return cursor
  }

  /// Whether the kernel sleeps until it is called (`XDP_RING_NEED_WAKEUP`).
  @inline(__always)
  var needsWakeup: Bool {
    unsafe flags.pointee.load(ordering: .relaxed) & UInt32(XDP_RING_NEED_WAKEUP) != 0
  }
}

/// A ring that the kernel fills: the completion ring or the receive ring.
@unsafe
package struct XDPConsumer {
  private let producer: UnsafeMutablePointer<Atomic<UInt32>>
  private let consumer: UnsafeMutablePointer<Atomic<UInt32>>
  private let entries: UnsafeMutableRawPointer
  private let mask: UInt32

  /// As ``XDPProducer/init(base:offsets:size:seen:)``.
  init(base: UnsafeMutableRawPointer, offsets: xdp_ring_offset, size: UInt32) {
    unsafe producer = (base + Int(offsets.producer)).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe consumer = (base + Int(offsets.consumer)).assumingMemoryBound(to: Atomic<UInt32>.self)
    unsafe entries = base + Int(offsets.desc)
    unsafe mask = size - 1
  }

  /// The first entry that this side has not given back yet.
  @inline(__always)
  var position: UInt32 { unsafe consumer.pointee.load(ordering: .relaxed) }

  /// How many entries the kernel has written from `position` on: never more than the ring has, whatever the
  /// kernel's cursor says. They may be read after this.
  @inline(__always)
  func count(from position: UInt32) -> UInt32 {
    // Signed: a repair may have consumed beyond what the kernel has written.
    let ahead = unsafe Int32(bitPattern: written &- position)
    return unsafe ahead <= 0 ? 0 : min(UInt32(bitPattern: ahead), mask &+ 1)
  }

  /// Entries in the ring.
  @inline(__always)
  var size: UInt32 { unsafe mask &+ 1 }

  /// The kernel's cursor: how many entries it has written since the ring was made, modulo 2^32.
  @inline(__always)
  var written: UInt32 { unsafe producer.pointee.load(ordering: .acquiring) }

  /// An entry of the completion ring: an address in the UMEM, not validated.
  @inline(__always)
  func address(at position: UInt32) -> UInt64 {
    unsafe word(Int(position & mask) &* 8)
  }

  /// An entry of the receive ring, not validated.
  @inline(__always)
  func descriptor(at position: UInt32) -> xdp_desc {
    let offset = unsafe Int(position & mask) &* 16
    let second = unsafe word(offset &+ 8)
    return unsafe xdp_desc(
      addr: word(offset), len: UInt32(truncatingIfNeeded: second),
      options: UInt32(truncatingIfNeeded: second >> 32))
  }

  @inline(__always)
  private func word(_ offset: Int) -> UInt64 {
    unsafe (entries + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// Gives the entries before `position` back to the kernel.
  @inline(__always)
  func release(upTo position: UInt32) {
    unsafe consumer.pointee.store(position, ordering: .releasing)
  }
}
