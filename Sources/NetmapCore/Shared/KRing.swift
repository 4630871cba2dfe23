public import Synchronization

/// The engine's own state of a ring (upstream: `netmap_kring`), in a port's sync segment.
///
/// Indexes are slot numbers below the slot count. Between syncs, modulo the ring,
/// transmit: `hwcur <= rhead <= rcur <= rtail == hwtail`; receive: `hwcur <= rhead <= rcur <= hwtail`.
///
/// A view: one pointer, no ownership; the segment must outlive it. Only the holder of the ring's lock writes the
/// cursors; ``KRingLayout`` says which words other processes write.
@unsafe @usableFromInline
package struct KRing {
  @usableFromInline package let base: UnsafeMutableRawPointer

  @inlinable
  package init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  // MARK: - Cursors
  //
  // Each accessor compares the loaded value with the ring's slot count before it returns the value. So the result
  // is a valid slot index, whatever a peer has stored. Load a cursor once per sync and pass the value on.

  /// The next slot that the engine takes over: the application's head at the last sync.
  ///
  /// - Returns: Nil when the stored value is not below `count`, the ring's slot count.
  @inlinable @inline(__always)
  package func hwcur(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.hwcur, below: count)
  }

  /// The first slot after those that the application may own; checked like ``hwcur(below:)``.
  @inlinable @inline(__always)
  package func hwtail(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.hwtail, below: count)
  }

  /// The head that the last sync accepted; checked like ``hwcur(below:)``.
  @inlinable @inline(__always)
  package func rhead(below count: UInt32) -> UInt32? {
    unsafe cursor(KRingLayout.rhead, below: count)
  }

  /// The tail last shown to the application; checked like ``hwcur(below:)``.
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

  /// The current cursors, each loaded once and not checked against the slot count.
  ///
  /// For display and for comparisons with each other. Do not use any of them as an index.
  package var cursors: KRingCursors {
    unsafe KRingCursors(
      hwcur: rawWord(KRingLayout.hwcur), rhead: rawWord(KRingLayout.rhead),
      rcur: rawWord(KRingLayout.rcur), rtail: rawWord(KRingLayout.rtail),
      hwtail: rawWord(KRingLayout.hwtail), position: acquirePosition())
  }

  /// Whether poll(2) reports the ring as ready: slots remain between the application's `cur` and the tail.
  @inlinable @inline(__always)
  package var isReady: Bool {
    unsafe rawWord(KRingLayout.rcur) != rawWord(KRingLayout.rtail)
  }

  /// The tail last shown to the application, unchecked: for comparison with an earlier one.
  package var shownTail: UInt32 { unsafe rawWord(KRingLayout.rtail) }

  /// Whether the engine has taken over exactly the slots before `head`.
  @inlinable @inline(__always)
  package func hasTaken(upTo head: UInt32) -> Bool {
    unsafe rawWord(KRingLayout.hwcur) == head
  }

  /// Whether a receive ring holds slots that the application has not returned.
  var hasUnread: Bool { unsafe rawWord(KRingLayout.hwcur) != rawWord(KRingLayout.hwtail) }

  /// Whether a transmit ring holds accepted slots that the engine has not sent.
  var hasUnsent: Bool { unsafe rawWord(KRingLayout.hwcur) != rawWord(KRingLayout.rhead) }

  // MARK: - State and offsets

  @inlinable
  package var state: KRingState {
    get { unsafe KRingState(rawValue: rawWord(KRingLayout.state)) }
    nonmutating set { unsafe setRawWord(KRingLayout.state, newValue.rawValue) }
  }

  /// Bits of a slot's `ptr` that hold an offset; 0 when no binding asked for offsets.
  @inlinable @inline(always)
  package var offsetMask: UInt64 {
    get { unsafe rawLongWord(KRingLayout.offsetMask) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.offsetMask, newValue) }
  }

  /// The largest permitted offset as stored, for the engine's own comparisons.
  ///
  /// To locate a packet in its buffer use ``offset(of:_:)``.
  package var offsetMax: UInt64 {
    get { unsafe rawLongWord(KRingLayout.offsetMax) }
    nonmutating set { unsafe setRawLongWord(KRingLayout.offsetMax, newValue) }
  }

  /// Stores the smallest distance between two packets in one buffer, bytes; 0 for none.
  package func store(offsetGap: UInt64) {
    unsafe setRawLongWord(KRingLayout.offsetGap, offsetGap)
  }

  /// The gap that was agreed on, bytes, as stored; 0 for none. See ``receiveRoom(_:)``.
  @inlinable
  package var offsetGap: UInt64 { unsafe rawLongWord(KRingLayout.offsetGap) }

  /// The largest offset that a slot of a ring with offsets can have, bytes: at most the size of a buffer.
  @inlinable
  package func largestOffset(_ rule: SlotRule) -> Int {
    unsafe rule.offset(of: .max, mask: .max, limit: rawLongWord(KRingLayout.offsetMax))
  }

  /// The most bytes that an interface writes into a slot of a ring, whatever the slot's offset is
  /// (`netmap_compute_buf_len`).
  ///
  /// The room between the largest offset and the end of the buffer, or less if the binding asked for less
  /// (`nro_min_gap`).
  @inlinable
  package func receiveRoom(_ rule: SlotRule) -> Int {
    guard unsafe offsetMask != 0 else { return Int(rule.bufferSize) }
    return unsafe limitedByGap(rule.room(at: largestOffset(rule)))
  }

  /// A number of bytes, limited to the gap that was agreed on.
  @inlinable
  package func limitedByGap(_ room: Int) -> Int {
    let gap = unsafe offsetGap
    return gap == 0 ? room : Int(truncatingIfNeeded: min(gap, UInt64(room)))
  }

  /// The offset of a packet in its buffer, from the pointer of its slot; see ``SlotRule/offset(of:mask:limit:)``.
  @inlinable @inline(__always)
  package func offset(of pointer: UInt64, _ rule: SlotRule) -> Int {
    unsafe rule.offset(
      of: pointer, mask: rawLongWord(KRingLayout.offsetMask),
      limit: rawLongWord(KRingLayout.offsetMax))
  }
}

/// The cursors of a kring as they were stored; see ``KRing/cursors``.
package struct KRingCursors: Hashable, Sendable {
  package let hwcur: UInt32
  package let rhead: UInt32
  package let rcur: UInt32
  package let rtail: UInt32
  package let hwtail: UInt32
  package let position: UInt32
}

// Raw words. Only this folder may use them; `make lint` rejects them elsewhere.
extension KRing {
  // Several processes write to the segment, so every access is atomic. Accesses are relaxed because the lock
  // orders these words.

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
  /// Makes every later sync fail because the interface or port behind the ring is gone.
  ///
  /// Any thread may call this without the ring's lock; the state word has no other writer while a binding holds
  /// the ring.
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

  /// A binding holds the ring.
  @inlinable package static var on: Self { Self(rawValue: 1) }
  /// The interface behind the ring is gone: syncs fail with `EIO`.
  @inlinable package static var stopped: Self { Self(rawValue: 2) }
}
