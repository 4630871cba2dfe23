internal import CNetmap
internal import Synchronization

/// The word in which syncs of a ring show the application the end of its slots.
///
/// It is the ring's `tail`. Only the rings of a ``SyncLoop`` have another one: their applications look at control blocks, and
/// the ring's `tail` is theirs.
@unsafe
struct ShownTail {
  private let place: UnsafeMutableRawPointer

  /// The `tail` of a ring.
  init(of ring: Ring) {
    unsafe place = ring.base + NETMAP_RING_TAIL_OFFSET
  }

  /// A word that only the caller's process uses. It must outlive every sync that shows a tail there.
  init(at word: UnsafeMutablePointer<Atomic<UInt32>>) {
    unsafe place = UnsafeMutableRawPointer(word)
  }

  /// Whether it is the `tail` of a ring.
  func isTail(of ring: Ring) -> Bool {
    unsafe place == ring.base + NETMAP_RING_TAIL_OFFSET
  }

  /// Stores the end of the slots. What was stored in slots before is visible to a reader that finds it.
  @inline(__always)
  func store(_ tail: UInt32) {
    unsafe place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(
      tail, ordering: .releasing)
  }
}
