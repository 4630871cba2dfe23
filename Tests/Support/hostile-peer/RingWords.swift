import CNetmap
import NetmapCore
import Synchronization

/// Access by offset to the words of one ring, its kring and its netmap ring, in a mapping of segment and
/// region.
@unsafe
struct RingWords {
  let kring: UnsafeMutableRawPointer
  let ring: UnsafeMutableRawPointer
  let slotCount: Int

  init?(
    _ segment: SyncSegment, _ region: SharedMemory, _ end: Int, _ direction: Direction, _ index: Int
  ) {
    guard let found = unsafe segment.kring(end: end, direction, index) else { return nil }
    unsafe kring = found.base
    let offset = unsafe Int(
      kring.loadUnaligned(fromByteOffset: KRingLayout.ringOffset, as: UInt64.self))
    let count = unsafe Int(
      kring.loadUnaligned(fromByteOffset: KRingLayout.slotCount, as: UInt32.self))
    guard count > 0, count <= 4096,
      offset + NETMAP_RING_SLOTS_OFFSET + count * 16 <= region.byteCount
    else { return nil }
    unsafe ring = region.base + offset
    unsafe slotCount = count
  }

  func word(kring offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (kring + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  func long(kring offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (kring + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The two words of a slot: first index, length and flags, then the pointer.
  func slot(_ index: Int) -> UnsafeMutableRawPointer {
    unsafe ring + NETMAP_RING_SLOTS_OFFSET + index * 16
  }
}
