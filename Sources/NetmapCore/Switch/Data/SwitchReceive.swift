internal import Synchronization

extension MappedRing {
  /// Gives the slots before `head` back to the senders, and takes over the leases that they have
  /// finished.
  func switchReceive(upTo head: UInt32) {
    unsafe kring.store(hwcur: head)
    if unsafe kring.published != head {
      unsafe kring.release(position: head)
      if unsafe kring.holdsSenders,
        let path = unsafe parts.pointee.switching
      {
        unsafe wakeHeldSenders(path)
      }
    }
    guard let leases = unsafe parts.pointee.switching?.pointee.leases else {
      // The ring has no leases, so no sender can fill it.
      return unsafe finalize(tail: head)
    }
    let count = unsafe ring.slotCount
    var arriving = unsafe kring.arriving
    guard arriving.next < count else { return unsafe finalize(tail: head) }
    let first = arriving.next
    var held = unsafe ring.distance(from: head, to: arriving.next)
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    while true {
      let slots = unsafe leases.finishedSlots(of: arriving)
      // Senders write the lease table. A bad entry must not make the ring overrun.
      guard slots > 0, held &+ slots < count else { break }
      let contents = unsafe leases.contents(at: arriving.next)
      packets &+= contents.packets
      bytes &+= contents.bytes
      held &+= slots
      arriving = arriving.following(slots, of: count)
    }
    if arriving.next != first {
      // One store, so that a sync that is interrupted here can run again.
      unsafe kring.arriving = arriving
      unsafe kring.count(.packets, packets)
      unsafe kring.count(.bytes, bytes)
    }
    unsafe finalize(tail: arriving.next)
  }

  /// Adds the packets for this port that senders dropped before they reached one of its rings.
  ///
  /// The switch's segment counts these drops per port. Ring 0 reports them for all rings.
  func addRefusals(to drops: inout DropCounters) {
    guard unsafe kring.switchRingID == 0, let path = unsafe parts.pointee.switching
    else { return }
    let index = unsafe Int(path.pointee.port)
    unsafe drops[.unknownRegion] &+= path.pointee.vale.counter(.unknownRegion, of: index)
    unsafe drops[.noReceiver] &+= path.pointee.vale.counter(.noReceiver, of: index)
  }
}
