/// The validated cursors of a ring at the beginning of a sync.
///
/// The sync loads each cursor once. Values outside the application's window never reach the copy loops: these use
/// the validated values and load no cursor again.
struct AcceptedCursors {
  /// The start of the application's window, where the last sync ended.
  ///
  /// Below the ring's slot count, like the others.
  let first: UInt32
  /// The application's head, up to which to sync.
  let head: UInt32
  /// The end of the window: the first slot that the application does not own.
  let tail: UInt32

  @inline(__always)
  init(first: UInt32, head: UInt32, tail: UInt32) {
    self.first = first
    self.head = head
    self.tail = tail
  }
}

/// The cursors of an application as they were stored: each loaded once, and not validated.
struct LoadedCursors {
  /// The first slot that the application keeps.
  let head: UInt32
  /// Its wake-up point.
  let cur: UInt32
}

extension KRing {
  /// Validates the cursors of a transmit ring; nil when `head` or `cur` is out of place.
  ///
  /// `head` may lie between the last accepted head and the tail last shown to the application, `cur` between
  /// `head` and that tail. (Upstream accepts a `cur` beyond the ring when the window wraps; this function rejects
  /// it.)
  @inline(__always)
  func acceptTransmit(_ ring: Ring) -> AcceptedCursors? {
    let count = unsafe ring.slotCount
    return unsafe accept(ring, from: rhead(below: count), to: rtail(below: count))
  }

  /// Validates the cursors of a receive ring, whose window extends from `hwcur` to `hwtail`.
  @inline(__always)
  func acceptReceive(_ ring: Ring) -> AcceptedCursors? {
    let count = unsafe ring.slotCount
    return unsafe accept(ring, from: hwcur(below: count), to: hwtail(below: count))
  }

  /// Validates cursors that the caller has loaded from elsewhere, like ``acceptTransmit(_:)`` and
  /// ``acceptReceive(_:)``.
  func accept(
    _ request: LoadedCursors, _ direction: Direction, _ ring: Ring
  ) -> AcceptedCursors? {
    let count = unsafe ring.slotCount
    switch direction {
    case .transmit:
      return unsafe accept(ring, request, from: rhead(below: count), to: rtail(below: count))
    case .receive:
      return unsafe accept(ring, request, from: hwcur(below: count), to: hwtail(below: count))
    }
  }

  @inline(__always)
  private func accept(
    _ ring: Ring, from first: UInt32?, to limit: UInt32?
  ) -> AcceptedCursors? {
    unsafe accept(ring, LoadedCursors(head: ring.head, cur: ring.cur), from: first, to: limit)
  }

  @inline(__always)
  private func accept(
    _ ring: Ring, _ request: LoadedCursors, from first: UInt32?, to limit: UInt32?
  ) -> AcceptedCursors? {
    let (head, cur) = (request.head, request.cur)
    // Peers of the same trust domain can write to the kring, so its indexes are validated too. Otherwise a
    // damaged segment would cause a copy outside the ring.
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

  /// Publishes the end of the application's slots: the last step of a sync.
  @inline(__always)
  func show(tail: UInt32, in ring: Ring) {
    unsafe store(hwtail: tail)
    unsafe store(rtail: tail)
    unsafe ring.tail = tail
  }
}

extension MappedRing {
  /// Publishes the end of the application's slots: the last step of a sync.
  @inline(__always)
  func finalize(tail: UInt32) {
    unsafe kring.store(hwtail: tail)
    unsafe kring.store(rtail: tail)
    unsafe parts.pointee.shownTail.store(tail)
  }
}
