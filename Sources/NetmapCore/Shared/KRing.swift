public import Synchronization

/// The engine's private half of a ring (upstream: `netmap_kring`), in a port's sync segment.
///
/// Indexes are slot numbers below the slot count. At rest, modulo the ring,
/// transmit: `hwcur <= rhead <= rcur <= rtail == hwtail`; receive: `hwcur <= rhead <= rcur <= hwtail`.
///
/// A view: one pointer, no ownership; the segment must outlive it. Everything but the outbox is
/// written only by whoever holds the ring's lock.
@unsafe @usableFromInline
package struct KRing {
  @usableFromInline package let base: UnsafeMutableRawPointer

  @inlinable
  package init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// The next slot the engine takes over: the application's head at the last sync.
  @inlinable @inline(always)
  package var hwcur: UInt32 {
    get { unsafe word(KRingLayout.hwcur) }
    nonmutating set { unsafe setWord(KRingLayout.hwcur, newValue) }
  }

  /// The first slot the engine owns.
  @inlinable @inline(always)
  package var hwtail: UInt32 {
    get { unsafe word(KRingLayout.hwtail) }
    nonmutating set { unsafe setWord(KRingLayout.hwtail, newValue) }
  }

  /// Head as accepted by the last sync.
  @inlinable @inline(always)
  package var rhead: UInt32 {
    get { unsafe word(KRingLayout.rhead) }
    nonmutating set { unsafe setWord(KRingLayout.rhead, newValue) }
  }

  /// Cur as accepted by the last sync.
  @inlinable @inline(always)
  package var rcur: UInt32 {
    get { unsafe word(KRingLayout.rcur) }
    nonmutating set { unsafe setWord(KRingLayout.rcur, newValue) }
  }

  /// Tail as last shown to the application.
  @inlinable @inline(always)
  package var rtail: UInt32 {
    get { unsafe word(KRingLayout.rtail) }
    nonmutating set { unsafe setWord(KRingLayout.rtail, newValue) }
  }

  @inlinable
  package var state: KRingState {
    get { unsafe KRingState(rawValue: word(KRingLayout.state)) }
    nonmutating set { unsafe setWord(KRingLayout.state, newValue.rawValue) }
  }

  /// Bits of a slot's `ptr` that hold an offset; 0 when no opener asked for offsets.
  @inlinable @inline(always)
  package var offsetMask: UInt64 {
    get { unsafe longWord(KRingLayout.offsetMask) }
    nonmutating set { unsafe setLongWord(KRingLayout.offsetMask, newValue) }
  }

  /// The largest offset, bytes.
  @inlinable @inline(always)
  package var offsetMax: UInt64 {
    get { unsafe longWord(KRingLayout.offsetMax) }
    nonmutating set { unsafe setLongWord(KRingLayout.offsetMax, newValue) }
  }

  /// The smallest distance between two packets in one buffer, bytes; 0 for none.
  @inlinable @inline(always)
  package var offsetGap: UInt64 {
    get { unsafe longWord(KRingLayout.offsetGap) }
    nonmutating set { unsafe setLongWord(KRingLayout.offsetGap, newValue) }
  }
}

extension KRing {
  // The segment is written by several processes, so every access is an atomic one; relaxed, because
  // the lock orders these words.

  @inlinable @inline(always)
  package func word(_ offset: Int) -> UInt32 {
    unsafe atomicWord(offset).pointee.load(ordering: .relaxed)
  }

  @inlinable @inline(always)
  package func setWord(_ offset: Int, _ value: UInt32) {
    unsafe atomicWord(offset).pointee.store(value, ordering: .relaxed)
  }

  @inlinable @inline(always)
  package func longWord(_ offset: Int) -> UInt64 {
    unsafe atomicLongWord(offset).pointee.load(ordering: .relaxed)
  }

  @inlinable @inline(always)
  package func setLongWord(_ offset: Int, _ value: UInt64) {
    unsafe atomicLongWord(offset).pointee.store(value, ordering: .relaxed)
  }

  @inlinable @inline(always)
  package func atomicWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inlinable @inline(always)
  package func atomicLongWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}

extension KRing {
  /// Makes every further sync fail: what the ring belonged to has gone. From any thread, without the
  /// ring's lock; the state word has no other writer while the ring is held.
  package func stop() {
    unsafe state = state.union(.stopped)
  }
}

/// Whether a ring may be synced.
@usableFromInline
package struct KRingState: OptionSet, Sendable {
  @usableFromInline package let rawValue: UInt32

  @inlinable
  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Somebody has bound the ring.
  @inlinable package static var on: Self { Self(rawValue: 1) }
  /// The interface behind the ring has gone: syncs fail with `EIO`.
  @inlinable package static var stopped: Self { Self(rawValue: 2) }
}
