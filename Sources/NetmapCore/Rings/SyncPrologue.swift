/// The checks at the beginning of a sync: is what the application wrote into its ring legal?
///
/// Each cursor is read once. Values outside the window that the application was given never reach the
/// copy loops.
extension KRing {
  /// The head to sync up to, or nil when `head` or `cur` is out of place.
  ///
  /// `head` may lie between the last accepted head and the tail last shown, `cur` between `head` and
  /// that tail. (Upstream lets a `cur` beyond the ring through when the window wraps; refused here.)
  @inline(__always)
  func acceptTransmit(_ ring: Ring) -> UInt32? {
    unsafe accept(ring, from: rhead, to: rtail)
  }

  /// The same for a receive ring, whose window runs from `hwcur` to `hwtail`.
  @inline(__always)
  func acceptReceive(_ ring: Ring) -> UInt32? {
    unsafe accept(ring, from: hwcur, to: hwtail)
  }

  @inline(__always)
  private func accept(_ ring: Ring, from first: UInt32, to limit: UInt32) -> UInt32? {
    let head = unsafe ring.head
    let cur = unsafe ring.cur
    // The krings are shared with peers of the same trust domain: check those indexes too, or a
    // damaged segment would turn into a wild copy.
    let count = unsafe ring.slotCount
    guard head < count, cur < count, first < count, limit < count else { return nil }
    let room = unsafe ring.distance(from: first, to: limit)
    let headDistance = unsafe ring.distance(from: first, to: head)
    let curDistance = unsafe ring.distance(from: first, to: cur)
    guard headDistance <= room, curDistance >= headDistance, curDistance <= room else { return nil }
    unsafe rhead = head
    unsafe rcur = cur
    return head
  }

  /// Publishes the end of what the application may touch, the last step of a sync.
  @inline(__always)
  func show(tail: UInt32, in ring: Ring) {
    unsafe hwtail = tail
    unsafe rtail = tail
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
