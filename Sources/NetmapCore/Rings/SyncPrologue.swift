/// The checks at the beginning of a sync: is what the application wrote into its ring legal?
///
/// Each cursor is loaded once. Values outside the window that the application was given never reach the
/// copy loops: those get what was checked, and load no cursor again.
struct AcceptedCursors {
  /// Where the window begins: up to where the last sync got. Below the ring's slot count, as the others.
  let first: UInt32
  /// The head to sync up to.
  let head: UInt32
  /// Where the window ends: the first slot that is not the application's.
  let tail: UInt32

  @inline(__always)
  init(first: UInt32, head: UInt32, tail: UInt32) {
    self.first = first
    self.head = head
    self.tail = tail
  }
}

extension KRing {
  /// The head to sync up to, in its window; nil when `head` or `cur` is out of place.
  ///
  /// `head` may lie between the last accepted head and the tail last shown, `cur` between `head` and
  /// that tail. (Upstream lets a `cur` beyond the ring through when the window wraps; refused here.)
  @inline(__always)
  func acceptTransmit(_ ring: Ring) -> AcceptedCursors? {
    let count = unsafe ring.slotCount
    return unsafe accept(ring, from: rhead(below: count), to: rtail(below: count))
  }

  /// The same for a receive ring, whose window runs from `hwcur` to `hwtail`.
  @inline(__always)
  func acceptReceive(_ ring: Ring) -> AcceptedCursors? {
    let count = unsafe ring.slotCount
    return unsafe accept(ring, from: hwcur(below: count), to: hwtail(below: count))
  }

  @inline(__always)
  private func accept(
    _ ring: Ring, from first: UInt32?, to limit: UInt32?
  ) -> AcceptedCursors? {
    let head = unsafe ring.head
    let cur = unsafe ring.cur
    // The krings are shared with peers of the same trust domain: those indexes are checked too, or a
    // damaged segment would turn into a wild copy.
    let count = unsafe ring.slotCount
    guard head < count, cur < count, let first, let limit else { return nil }
    let room = unsafe ring.distance(from: first, to: limit)
    let headDistance = unsafe ring.distance(from: first, to: head)
    let curDistance = unsafe ring.distance(from: first, to: cur)
    guard headDistance <= room, curDistance >= headDistance, curDistance <= room else { return nil }
    unsafe store(rhead: head)
    unsafe store(rcur: cur)
    return AcceptedCursors(first: first, head: head, tail: limit)
  }

  /// Publishes the end of what the application may touch, the last step of a sync.
  @inline(__always)
  func show(tail: UInt32, in ring: Ring) {
    unsafe store(hwtail: tail)
    unsafe store(rtail: tail)
    unsafe ring.tail = tail
  }
}

extension AttachedRing {
  /// Publishes the end of what the application may touch, the last step of a sync.
  @inline(__always)
  func finalize(tail: UInt32) {
    unsafe kring.show(tail: tail, in: ring)
  }
}
