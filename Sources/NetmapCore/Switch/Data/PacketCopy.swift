/// Copies a packet between buffers, in whole blocks of 64 bytes if both buffers have the room.
///
/// The bytes behind the packet are unspecified afterwards.
///
/// - Parameters:
///   - source: The first byte of the packet.
///   - target: The destination.
///   - length: Bytes of the packet, at most `room`.
///   - room: Bytes that may be read from `source` on and written from `target` on.
@inlinable @inline(__always)
package func copyPacket(
  from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ length: Int, room: Int
) {
  // At least one block, even for an empty packet.
  let blocks = (max(length, 1) &+ 63) & ~63
  guard blocks <= room else {
    return unsafe target.copyMemory(from: source, byteCount: length)
  }
  if blocks <= 64 { return unsafe copyBlock(from: source, to: target) }
  // The C library is faster for longer packets: it uses the processor's widest registers.
  if blocks > 256 { return unsafe target.copyMemory(from: source, byteCount: blocks) }
  var offset = 0
  while offset < blocks {
    unsafe copyBlock(from: source + offset, to: target + offset)
    offset &+= 64
  }
}

/// Copies 64 bytes.
@inlinable @inline(__always)
package func copyBlock(from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer) {
  unsafe Block(source).store(target)
}

/// 64 bytes, in four registers of a size that every processor has.
@usableFromInline
package struct Block {
  @usableFromInline typealias Quarter = SIMD2<UInt64>
  @usableFromInline let (a, b, c, d): (Quarter, Quarter, Quarter, Quarter)

  @inlinable @inline(__always)
  package init(_ source: UnsafeRawPointer) {
    unsafe a = source.loadUnaligned(as: Quarter.self)
    unsafe b = source.loadUnaligned(fromByteOffset: 16, as: Quarter.self)
    unsafe c = source.loadUnaligned(fromByteOffset: 32, as: Quarter.self)
    unsafe d = source.loadUnaligned(fromByteOffset: 48, as: Quarter.self)
  }

  @inlinable @inline(__always)
  package func store(_ target: UnsafeMutableRawPointer) {
    unsafe target.storeBytes(of: a, as: Quarter.self)
    unsafe target.storeBytes(of: b, toByteOffset: 16, as: Quarter.self)
    unsafe target.storeBytes(of: c, toByteOffset: 32, as: Quarter.self)
    unsafe target.storeBytes(of: d, toByteOffset: 48, as: Quarter.self)
  }
}

/// Calls ``copyPacket(from:to:_:room:)`` for a packet of more than one block, outside the loop over
/// short packets.
@inline(never)
func copyLongPacket(
  from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ length: Int, room: Int
) {
  unsafe copyPacket(from: source, to: target, length, room: room)
}
