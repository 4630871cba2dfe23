internal import Synchronization

/// How far a module host has got with the packets in its ring, read from its port's sync segment.
package struct HostBacklog {
  /// Packets that have arrived and that the host has not handled yet.
  package let packets: UInt64
  /// Whether there are packets in slots that the host could take.
  package let isWaiting: Bool
  /// Grows as long as the host works.
  package let progress: UInt64
  /// Packets for which the host's ring had no room.
  package let refused: UInt64

  /// - Parameter segment: The sync segment of the host's port.
  package init(_ segment: SyncSegment) {
    guard let receive = unsafe segment.kring(end: 0, .receive, 0),
      let transmit = unsafe segment.kring(end: 0, .transmit, 0),
      let leases = unsafe segment.leases(0)
    else {
      (packets, isWaiting, progress, refused) = (0, false, 0, 0)
      return
    }
    let count = UInt32(clamping: segment.leaseSlots)
    var arrived = unsafe receive.counters.packets
    var next = unsafe receive.arriving
    var hasFinished = false
    // Any process on the switch may write to the table meanwhile: count no more leases than slots.
    let table = unsafe LeaseTable(base: leases)
    for _ in 0..<count {
      guard next.next < count else { break }
      let slots = unsafe table.finishedSlots(of: next)
      guard slots > 0, slots < count else { break }
      arrived &+= unsafe table.contents(at: next.next).packets
      next = next.following(slots, of: count)
      hasFinished = true
    }
    let done = unsafe transmit.counters.packets
    packets = arrived > done ? arrived - done : 0
    isWaiting = unsafe hasFinished || receive.hasUnread
    progress = unsafe done &+ receive.counters.syncs
    refused = unsafe receive.refused(.full) &+ receive.refused(.busy)
  }
}
