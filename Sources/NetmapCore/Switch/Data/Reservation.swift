internal import CLinux
internal import Synchronization

extension Forwarder {
  /// Reserves slots of a receive ring. Every sender on a switch does so here.
  ///
  /// - Parameters:
  ///   - place: The ring.
  ///   - receiver: The index of its port, below 254.
  ///   - enough: The slots that the sender wants, at least 1. If the sender's last lease left that
  ///     many free, the receiver's position is not loaded.
  ///   - fitting: Chooses how many slots to reserve. Gets the number of free slots, or a number below
  ///     0 when the ring's words are out of range; returns at most that number, or 0 to give up. It
  ///     is called again for each attempt that another sender won.
  /// - Returns: The lease; nil when no slots could be reserved.
  @inline(__always)
  func reserve(
    _ place: ReceiveTarget, for receiver: Int, enough: Int, fitting: (Int) -> Int
  ) -> Lease? {
    let count = unsafe place.target.pointee.slotCount
    let generation = unsafe place.target.pointee.generation
    let target = unsafe LeaseTarget(port: receiver, generation: generation, ring: place.index)
    var known = unsafe place.kring.reservation
    if known.next < count {
      unsafe clinux_prefetch_to_write(place.view.place(known.next).address)
      unsafe place.leases.fetch(known.next)
    }
    for _ in unsafe 0..<ReceiveTarget.triesMax {
      var room = unsafe Int(kring.knownRoom(at: known, of: count, target))
      if room < enough { room = unsafe place.free(after: known) }
      let slots = fitting(room)
      guard slots > 0 else { return nil }
      let lease = Lease(
        sequence: known.sequence, start: known.next, slots: UInt32(truncatingIfNeeded: slots))
      unsafe kring.announce(
        target, known, slots: lease.slots, room: UInt32(truncatingIfNeeded: room &- slots))
      let following = known.following(lease.slots, of: count)
      let (isOurs, found) = unsafe place.kring.reserve(from: known, upTo: following)
      if isOurs { return lease }
      known = found
    }
    return nil
  }
}
