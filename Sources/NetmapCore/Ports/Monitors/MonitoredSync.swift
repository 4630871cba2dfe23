// Syncs of rings that have monitors. The bit in the ring's lock leads here (`KRing.tryLockMonitored`), so that syncs of
// other rings do not look for monitors.

extension MappedRing {
  /// Takes a ring for one sync, if the ring has monitors.
  ///
  /// Called when an ordinary sync could not take the ring.
  ///
  /// - Returns: False when another thread is syncing the ring; this is then counted.
  @inline(never)
  func beginMonitored() -> Bool {
    let path = unsafe parts.pointee.switching
    if let path = unsafe path, unsafe !path.pointee.epoch.enter() {
      unsafe kring.count(.busySyncs)
      return false
    }
    // No thread of this process has a ring of a switch now. If its lock names this process, another process has written
    // it: see `takeOver(_:)`.
    if unsafe kring.tryLockMonitored(tag)
      || path != nil && kring.isLockedMonitored(by: tag)
    {
      return true
    }
    if let path = unsafe path { unsafe path.pointee.epoch.leave() }
    unsafe kring.count(.busySyncs)
    return false
  }

  /// Ends the sync.
  func endMonitored() {
    unsafe kring.unlockMonitored()
    if let path = unsafe parts.pointee.switching { unsafe path.pointee.epoch.leave() }
  }

  @inline(never)
  func synchronizeMonitoredTransmit(_ flags: SyncFlags) -> SyncResult {
    guard unsafe beginMonitored() else { return .busy }
    guard let accepted = unsafe kring.acceptTransmit(ring) else {
      unsafe reset()
      unsafe endMonitored()
      return .reset
    }
    unsafe copySentToMonitors(upTo: accepted.head)
    let result = unsafe send(upTo: accepted.head, flags)
    unsafe endMonitored()
    return result
  }

  @inline(never)
  func synchronizeMonitoredReceive(_ flags: SyncFlags) -> SyncResult {
    guard unsafe beginMonitored() else { return .busy }
    let (result, formerTail) = unsafe takeIn(flags)
    if let tail = unsafe kring.hwtail(below: ring.slotCount) {
      unsafe copyToMonitors(from: formerTail, upTo: tail)
    }
    unsafe stamp(ring)
    unsafe endMonitored()
    return result
  }

  /// Copies the packets in the slots up to `head` to the ring's monitors, before they are sent.
  ///
  /// Slots that a former sync could not send are not copied again, unless that sync's process was killed meanwhile.
  func copySentToMonitors(upTo head: UInt32) {
    let ring = unsafe ring
    guard let hwcur = unsafe kring.hwcur(below: ring.slotCount) else { return }
    var start = hwcur
    if let end = unsafe kring.monitoredEnd(below: ring.slotCount),
      unsafe ring.distance(from: hwcur, to: end) <= ring.distance(from: hwcur, to: head)
    {
      start = end
    }
    guard start != head else { return }
    unsafe copyToMonitors(from: start, upTo: head)
    unsafe kring.store(monitoredEnd: head)
  }

  /// Copies the packets in the slots `first..<end`, which may wrap, to the ring's monitors.
  func copyToMonitors(from first: UInt32, upTo end: UInt32) {
    guard first != end, let table = unsafe parts.pointee.monitors else { return }
    unsafe table.pointee.enter()
    for place in 0..<MonitorLimits.perRing {
      guard let entry = unsafe kring.monitor(at: place) else { continue }
      guard let target = unsafe table.pointee.find(entry),
        let copy = unsafe MonitorCopy(self, target, entry)
      else { continue }
      unsafe copy.copy(from: first, upTo: end)
    }
    unsafe table.pointee.leave()
  }

  /// Receive sync of a monitor's own ring: gives the slots before `head` back, and shows the packets that have been copied
  /// since.
  func monitorReceive(upTo head: UInt32, _ formerTail: UInt32) {
    unsafe kring.store(hwcur: head)
    if unsafe kring.published != head { unsafe kring.release(position: head) }
    unsafe finalize(tail: peerKRing.acquirePosition(below: ring.slotCount) ?? formerTail)
  }
}
