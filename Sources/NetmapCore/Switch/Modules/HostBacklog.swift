internal import Synchronization

/// How far a module host has got with the packets in its ring: read from its port's sync segment, by
/// whoever watches it.
package struct HostBacklog {
  /// Packets that have arrived and have not been dealt with.
  package let packets: UInt64
  /// Whether there are such, in slots that it could take.
  package let isWaiting: Bool
  /// Goes up as long as it works.
  package let progress: UInt64
  /// Packets for which its ring had no room.
  package let refused: UInt64

  /// - Parameter segment: Of the host's port.
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
    // What is there may be written to meanwhile, by anybody: no more leases than slots.
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
