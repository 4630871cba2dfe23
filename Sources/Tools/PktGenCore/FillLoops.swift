internal import CLinux
internal import Glibc
internal import Netmap

/// Chooses the length of each packet.
///
/// Each way to choose is a type, so that the compiler specializes the loops.
protocol LengthSource {
  /// Total bytes of the next packet, virtio header included.
  mutating func next() -> Int
}

struct FixedLength: LengthSource {
  let length: Int

  @inline(__always)
  mutating func next() -> Int { length }
}

/// A random length for every packet.
struct RandomLength: LengthSource {
  let lower: Int
  let upper: Int
  var random: RandomSource

  @inline(__always)
  mutating func next() -> Int { random.number(from: lower, upTo: upper) }
}

/// The result of a fill loop.
struct Filled {
  /// The first slot after the filled ones.
  let head: UInt32
  /// Bytes in the filled slots.
  let bytes: UInt64
}

/// The loops that fill slots.
///
/// They allocate nothing, count no references, and make every choice that does not change per packet
/// beforehand.
///
/// Each takes the first slot and the number of packets. The caller has checked that there is room, and moves
/// `head` afterwards.
enum FillLoops {
  /// Sets only the length of slots whose buffer already holds the packet.
  ///
  /// Fills the other buffers, and stores each slot's buffer in `known`.
  @unsafe @inline(never)
  static func steady<L: LengthSource>(
    _ ring: Ring, from first: UInt32, _ count: Int, _ packet: UnsafeRawPointer, _ longest: Int,
    known: UnsafeMutablePointer<UInt32>, prefetches: Bool, _ lengths: inout L
  ) -> Filled {
    var head = first
    var bytes: UInt64 = 0
    var source = lengths
    for _ in 0..<count {
      let slot = unsafe ring.slot(head)
      let value = unsafe slot.pointee
      if unsafe value.bufferIndex != known[Int(head)] || value.flags.contains(.bufferChanged) {
        unsafe memcpy(ring.buffer(value.bufferIndex), packet, longest)
        unsafe known[Int(head)] = value.bufferIndex
      } else if prefetches {
        unsafe clinux_prefetch(ring.buffer(value.bufferIndex))
      }
      let length = source.next()
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: length)
      unsafe slot.pointee.flags = []
      bytes &+= UInt64(truncatingIfNeeded: length)
      head = unsafe ring.next(head)
    }
    lengths = source
    return Filled(head: head, bytes: bytes)
  }

  /// Sends buffers with their present contents.
  @unsafe @inline(never)
  static func rubbish<L: LengthSource>(
    _ ring: Ring, from first: UInt32, _ count: Int, _ lengths: inout L
  ) -> Filled {
    var head = first
    var bytes: UInt64 = 0
    for _ in 0..<count {
      let slot = unsafe ring.slot(head)
      let length = lengths.next()
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: length)
      unsafe slot.pointee.flags = []
      bytes &+= UInt64(truncatingIfNeeded: length)
      head = unsafe ring.next(head)
    }
    return Filled(head: head, bytes: bytes)
  }

  /// Points slots to the packet in this process's memory (`NS_INDIRECT`).
  @unsafe @inline(never)
  static func indirect<L: LengthSource>(
    _ ring: Ring, from first: UInt32, _ count: Int, _ packet: UnsafeRawPointer,
    _ lengths: inout L
  ) -> Filled {
    var head = first
    var bytes: UInt64 = 0
    let address = UInt64(UInt(bitPattern: packet))
    for _ in 0..<count {
      let slot = unsafe ring.slot(head)
      let length = lengths.next()
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: length)
      unsafe slot.pointee.flags = .indirect
      unsafe slot.pointee.pointer = address
      bytes &+= UInt64(truncatingIfNeeded: length)
      head = unsafe ring.next(head)
    }
    return Filled(head: head, bytes: bytes)
  }

  /// Writes every packet: completely, or only the bytes that differ from those in the buffer.
  @unsafe @inline(never)
  static func copying<L: LengthSource>(
    _ ring: Ring, from first: UInt32, _ count: Int, _ writer: inout PacketWriter,
    known: UnsafeMutablePointer<UInt32>, _ lengths: inout L
  ) -> Filled {
    var head = first
    var bytes: UInt64 = 0
    var local = unsafe writer
    for _ in 0..<count {
      let slot = unsafe ring.slot(head)
      let value = unsafe slot.pointee
      let length = lengths.next()
      unsafe local.resize(to: length)
      let isKnown =
        unsafe value.bufferIndex == known[Int(head)]
        && !value.flags.contains(.bufferChanged)
      unsafe local.write(to: ring.buffer(value.bufferIndex), length, isKnown: isKnown)
      unsafe known[Int(head)] = value.bufferIndex
      unsafe local.advance()
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: length)
      unsafe slot.pointee.flags = []
      bytes &+= UInt64(truncatingIfNeeded: length)
      head = unsafe ring.next(head)
    }
    unsafe writer = unsafe local
    return Filled(head: head, bytes: bytes)
  }

  /// Writes every packet into several slots, and sets the more-fragments flag in all but the last.
  @unsafe @inline(never)
  static func fragmented<L: LengthSource>(
    _ ring: Ring, from first: UInt32, _ count: Int, _ writer: inout PacketWriter,
    fragmentSize: Int, fragmentCount: Int, _ lengths: inout L
  ) -> Filled {
    var head = first
    var bytes: UInt64 = 0
    var local = unsafe writer
    for _ in 0..<count {
      let length = lengths.next()
      unsafe local.resize(to: length)
      var offset = 0
      var slots = 1
      while slots < fragmentCount && length - offset > fragmentSize {
        let slot = unsafe ring.slot(head)
        unsafe memcpy(
          ring.buffer(slot.pointee.bufferIndex), local.packet + offset, fragmentSize)
        unsafe slot.pointee.length = UInt16(truncatingIfNeeded: fragmentSize)
        unsafe slot.pointee.flags = .moreFragments
        head = unsafe ring.next(head)
        offset += fragmentSize
        slots += 1
      }
      let slot = unsafe ring.slot(head)
      unsafe memcpy(
        ring.buffer(slot.pointee.bufferIndex), local.packet + offset, length - offset)
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: length - offset)
      unsafe slot.pointee.flags = []
      unsafe local.advance()
      bytes &+= UInt64(truncatingIfNeeded: length)
      head = unsafe ring.next(head)
    }
    unsafe writer = unsafe local
    return Filled(head: head, bytes: bytes)
  }
}
