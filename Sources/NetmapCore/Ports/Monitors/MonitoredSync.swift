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
    let (result, _) = unsafe moveMonitored(accepted, flags)
    unsafe endMonitored()
    return result
  }

  @inline(never)
  func synchronizeMonitoredReceive(_ flags: SyncFlags) -> SyncResult {
    guard unsafe beginMonitored() else { return .busy }
    let (accepted, result) = unsafe acceptOrReset()
    let (outcome, _) = unsafe moveMonitored(accepted, flags)
    unsafe stamp(ring)
    unsafe endMonitored()
    return outcome.isFailure ? outcome : result
  }

  /// The part of a sync of a ring with monitors between taking the ring's lock and releasing it, without the time stamp.
  ///
  /// - Returns: The result, and whether the other end of a pipe sleeps; the caller must wake it after it releases the lock.
  func moveMonitored(_ accepted: AcceptedCursors, _ flags: SyncFlags) -> (SyncResult, wakes: Bool) {
    guard unsafe direction == .transmit else {
      // Transparent mode reads the packets, which the exchange takes away.
      if unsafe parts.pointee.forwarding != nil, unsafe !kring.state.contains(.stopped) {
        unsafe forwardReleased(upTo: accepted.head)
      }
      unsafe exchangeReleased(from: accepted.first, upTo: accepted.head)
      // What arrives at an end of a pipe has been copied when it was sent.
      if unsafe kind == .pipe { return unsafe (.done, movePipeSlots(accepted)) }
      let result =
        unsafe kind == .backend
        ? receiveByBackend(upTo: accepted.head, flags) : takeIn(accepted, flags)
      if let tail = unsafe kring.hwtail(below: ring.slotCount) {
        unsafe copyToMonitors(from: accepted.tail, upTo: tail)
      }
      return (result, false)
    }
    unsafe copySentToMonitors(upTo: accepted.head)
    var (wakes, tail): (Bool, UInt32?) = (false, nil)
    switch unsafe kind {
    case .pipe:
      (wakes, tail) = unsafe handOverMonitored(upTo: accepted.head)
    case .backend:
      unsafe kring.count(.syncs)
      guard unsafe !kring.state.contains(.stopped) else { return (.stopped, false) }
      tail = unsafe moveByBackend(upTo: accepted.head, flags)
      if tail == nil { return (.failed, false) }
    case .vale:
      unsafe kring.count(.syncs)
      tail = unsafe forwardSlots(upTo: accepted.head)
    case .discard, .null, .monitor: return unsafe (send(upTo: accepted.head, flags), false)
    }
    if let tail {
      unsafe exchangeReturned(upTo: tail)
      unsafe finalize(tail: tail)
    }
    return (.done, wakes)
  }

  /// The part of a receive sync that a backend does.
  private func receiveByBackend(upTo head: UInt32, _ flags: SyncFlags) -> SyncResult {
    unsafe kring.count(.syncs)
    guard unsafe !kring.state.contains(.stopped) else { return .stopped }
    guard let tail = unsafe moveByBackend(upTo: head, flags) else { return .failed }
    unsafe finalize(tail: tail)
    return .done
  }

  /// Exchanges the buffers of the slots `first..<head`, which the application of a receive ring has released, with a monitor.
  ///
  /// Slots that were exchanged by a process that was killed before it gave them back are not exchanged again.
  private func exchangeReleased(from first: UInt32, upTo head: UInt32) {
    guard let entry = unsafe kring.exchangingMonitor else { return }
    unsafe exchange(from: first, upTo: head, entry)
  }

  /// Exchanges the buffers of the slots that have come back to a transmit ring, up to and including the slot at `tail`, with a
  /// monitor.
  private func exchangeReturned(upTo tail: UInt32) {
    let ring = unsafe ring
    guard let entry = unsafe kring.exchangingMonitor,
      let shown = unsafe kring.rtail(below: ring.slotCount)
    else { return }
    unsafe exchange(from: ring.next(shown), upTo: ring.next(tail), entry)
  }

  private func exchange(from first: UInt32, upTo end: UInt32, _ entry: MonitorEntry) {
    let ring = unsafe ring
    var start = first
    if let done = unsafe kring.exchangedEnd(below: ring.slotCount),
      unsafe ring.distance(from: first, to: done) <= ring.distance(from: first, to: end)
    {
      start = done
    }
    guard start != end, let table = unsafe parts.pointee.monitors else { return }
    unsafe table.pointee.enter()
    if let found = unsafe table.pointee.find(entry), let target = unsafe MonitorTarget(found, entry)
    {
      unsafe MonitorExchange(self, target, entry).exchange(from: start, upTo: end)
    }
    unsafe table.pointee.leave()
    unsafe kring.store(exchangedEnd: end)
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
      guard let entry = unsafe kring.monitor(at: place), !entry.exchanges else { continue }
      guard let found = unsafe table.pointee.find(entry),
        let target = unsafe MonitorTarget(found, entry)
      else { continue }
      unsafe MonitorCopy(self, target, entry).copy(from: first, upTo: end)
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
