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

  // MARK: - Cursors
  //
  // Each load is compared with the ring's slot count before anybody gets the number: then it is a slot's
  // index, whatever a peer has stored. Load a cursor once in a sync, and hand the number on.

  /// The next slot the engine takes over: the application's head at the last sync.
  ///
  /// - Returns: Nil when it is not below `count`, the ring's slots.
  @inlinable @inline(__always)
  package func hwcur(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.hwcur, below: count)
  }

  /// The first slot the engine owns; as ``hwcur(below:)``.
  @inlinable @inline(__always)
  package func hwtail(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.hwtail, below: count)
  }

  /// Head as accepted by the last sync; as ``hwcur(below:)``.
  @inlinable @inline(__always)
  package func rhead(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.rhead, below: count)
  }

  /// Tail as last shown to the application; as ``hwcur(below:)``.
  @inlinable @inline(__always)
  package func rtail(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.rtail, below: count)
  }

  @inlinable @inline(__always)
  package func store(hwcur: UInt32) { unsafe setRawWord(KRingLayout.hwcur, hwcur) }

  @inlinable @inline(__always)
  package func store(hwtail: UInt32) { unsafe setRawWord(KRingLayout.hwtail, hwtail) }

  @inlinable @inline(__always)
  package func store(rhead: UInt32) { unsafe setRawWord(KRingLayout.rhead, rhead) }

  @inlinable @inline(__always)
  package func store(rcur: UInt32) { unsafe setRawWord(KRingLayout.rcur, rcur) }

  @inlinable @inline(__always)
  package func store(rtail: UInt32) { unsafe setRawWord(KRingLayout.rtail, rtail) }

  @inlinable @inline(__always)
  func cursor(_ offset: Int, below count: UInt32) -> UInt32? {
    let index = unsafe rawWord(offset)
    return index < count ? index : nil
  }

  /// All cursors as they stand, each loaded once and compared with nothing: to show them, or to compare them
  /// with each other. None of them may be used as an index.
  package var cursors: KRingCursors {
    unsafe KRingCursors(
      hwcur: rawWord(KRingLayout.hwcur), rhead: rawWord(KRingLayout.rhead),
      rcur: rawWord(KRingLayout.rcur), rtail: rawWord(KRingLayout.rtail),
      hwtail: rawWord(KRingLayout.hwtail), position: acquirePosition())
  }

  /// Whether slots before the tail are left that the application has not asked to pass: poll(2) is ready.
  @inlinable @inline(__always)
  package var isReady: Bool {
    unsafe rawWord(KRingLayout.rcur) != rawWord(KRingLayout.rtail)
  }

  /// Whether the engine has taken over the slots before `head`, and no others.
  @inlinable @inline(__always)
  package func hasTaken(upTo head: UInt32) -> Bool {
    unsafe rawWord(KRingLayout.hwcur) == head
  }

  /// Whether the engine has taken over all slots that the last sync accepted.
  @inlinable @inline(__always)
  package var hasTakenAll: Bool {
    unsafe rawWord(KRingLayout.hwcur) == rawWord(KRingLayout.rhead)
  }

  /// Whether a receive ring holds slots that its application has not given back.
  var hasUnread: Bool { unsafe rawWord(KRingLayout.hwcur) != rawWord(KRingLayout.hwtail) }

  /// Whether a transmit ring holds slots that have been taken over and not been sent.
  var hasUnsent: Bool { unsafe rawWord(KRingLayout.hwcur) != rawWord(KRingLayout.rhead) }

  // MARK: - State and offsets

  @inlinable
  package var state: KRingState {
    get { unsafe KRingState(rawValue: rawWord(KRingLayout.state)) }
    nonmutating set { unsafe setRawWord(KRingLayout.state, newValue.rawValue) }
  }

  /// Bits of a slot's `ptr` that hold an offset; 0 when no opener asked for offsets.
  @inlinable @inline(always)
  package var offsetMask: UInt64 {
    get { unsafe rawLongWord(KRingLayout.offsetMask) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.offsetMask, newValue) }
  }

  /// The largest offset as stored, for the engine's own comparisons. For a packet's place use
  /// ``offset(of:atMost:)``.
  package var offsetMax: UInt64 {
    get { unsafe rawLongWord(KRingLayout.offsetMax) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.offsetMax, newValue) }
  }

  /// Stores the smallest distance between two packets in one buffer, bytes; 0 for none.
  package func store(offsetGap: UInt64) {
    unsafe setRawLongWord(KRingLayout.offsetGap, offsetGap)
  }

  /// Where in its buffer a packet begins, from the pointer of its slot: no more than the limit in force, and
  /// never more than `size`, the bytes of a buffer.
  @inlinable @inline(__always)
  package func offset(of pointer: UInt64, atMost size: UInt32) -> Int {
    let offset = unsafe min(
      pointer & rawLongWord(KRingLayout.offsetMask), rawLongWord(KRingLayout.offsetMax))
    return Int(truncatingIfNeeded: min(offset, UInt64(size)))
  }
}

/// The cursors of a kring as somebody stored them; see ``KRing/cursors``.
package struct KRingCursors: Hashable, Sendable {
  package let hwcur: UInt32
  package let rhead: UInt32
  package let rcur: UInt32
  package let rtail: UInt32
  package let hwtail: UInt32
  package let position: UInt32
}

// Raw words: for this folder only; `make lint` refuses them elsewhere.
extension KRing {
  // The segment is written by several processes, so every access is an atomic one; relaxed, because
  // the lock orders these words.

  @inlinable @inline(always)
  func rawWord(_ offset: Int) -> UInt32 {
    unsafe rawAtomicWord(offset).pointee.load(ordering: .relaxed)
  }

  @inlinable @inline(always)
  func setRawWord(_ offset: Int, _ value: UInt32) {
    unsafe rawAtomicWord(offset).pointee.store(value, ordering: .relaxed)
  }

  @inlinable @inline(always)
  func rawLongWord(_ offset: Int) -> UInt64 {
    unsafe rawAtomicLongWord(offset).pointee.load(ordering: .relaxed)
  }

  @inlinable @inline(always)
  func setRawLongWord(_ offset: Int, _ value: UInt64) {
    unsafe rawAtomicLongWord(offset).pointee.store(value, ordering: .relaxed)
  }

  @inlinable @inline(always)
  func rawAtomicWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inlinable @inline(always)
  func rawAtomicLongWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
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
