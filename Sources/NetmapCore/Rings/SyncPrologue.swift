/// The checks at the beginning of a sync: is what the application wrote into its ring legal?
///
/// Each cursor is read once. Values outside the window that the application was given never reach the
/// copy loops.
extension AttachedRing {
  /// The head to sync up to, or nil when `head` or `cur` is out of place.
  ///
  /// `head` may lie between the last accepted head and the tail last shown, `cur` between `head` and
  /// that tail. (Upstream lets a `cur` beyond the ring through when the window wraps; refused here.)
  @inline(__always)
  func transmitPrologue() -> UInt32? {
    let (first, limit) = unsafe (kring.rhead, kring.rtail)
    guard let (head, cur) = unsafe window(from: first, to: limit) else { return nil }
    unsafe kring.rhead = head
    unsafe kring.rcur = cur
    return head
  }

  /// The same for a receive ring, whose window runs from `hwcur` to `hwtail`.
  @inline(__always)
  func receivePrologue() -> UInt32? {
    let (first, limit) = unsafe (kring.hwcur, kring.hwtail)
    guard let (head, cur) = unsafe window(from: first, to: limit) else { return nil }
    unsafe kring.rhead = head
    unsafe kring.rcur = cur
    return head
  }

  @inline(__always)
  private func window(from first: UInt32, to limit: UInt32) -> (head: UInt32, cur: UInt32)? {
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
    return (head, cur)
  }

  /// Shows the application what is its own now: `tail`, the first slot of the engine.
  @inline(__always)
  func finalize(tail: UInt32) {
    unsafe kring.hwtail = tail
    unsafe kring.rtail = tail
    unsafe ring.tail = tail
  }
}
