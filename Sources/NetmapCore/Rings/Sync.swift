// A sync of one ring: lock, check, move, show, unlock, wake. This is the whole data path of an application that
// uses pipes; it makes a system call only to wake a sleeper.
//
// `@_noLocks` and `@_noAllocation` make the compiler reject reference counting, locks and allocation here and in
// every function called from here. The compiler can follow the calls only in an optimized build, where it sees
// the whole module.

extension MappedRing {
  /// Syncs this ring in its own direction.
  @inline(__always)
  package func synchronize(_ flags: SyncFlags) -> SyncResult {
    switch unsafe direction {
    case .transmit: unsafe synchronizeTransmit(flags)
    case .receive: unsafe synchronizeReceive(flags)
    }
  }

  /// Transmit sync: takes over the slots before `head`, and returns the slots that have been sent.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  package func synchronizeTransmit(_ flags: SyncFlags) -> SyncResult {
    // Pipes have a separate path: a pipe sync is so short that every instruction counts.
    if unsafe kind == .pipe { return unsafe synchronizePipeTransmit() }
    return unsafe synchronizeOtherTransmit(flags)
  }

  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  func synchronizeOtherTransmit(_ flags: SyncFlags) -> SyncResult {
    guard unsafe begin() else { return unsafe synchronizeMonitoredTransmit(flags) }
    guard let accepted = unsafe kring.acceptTransmit(ring) else {
      unsafe reset()
      unsafe end()
      return .reset
    }
    let result = unsafe send(upTo: accepted.head, flags)
    unsafe end()
    return result
  }

  /// The part of a transmit sync that depends on the port's kind; the caller has locked the ring.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  func send(upTo head: UInt32, _ flags: SyncFlags) -> SyncResult {
    unsafe kring.count(.syncs)
    switch unsafe kind {
    case .backend: return unsafe backendSynchronize(upTo: head, flags)
    case .vale: unsafe switchTransmit(upTo: head)
    case .discard: unsafe discard(upTo: head)
    case .null, .pipe:
      if let tail = unsafe kring.hwtail(below: ring.slotCount) { unsafe finalize(tail: tail) }
    // A monitor sends nothing.
    case .monitor: return .failed
    }
    return .done
  }

  /// Receive sync: takes back the slots before `head`, and shows the application the slots that have arrived.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  package func synchronizeReceive(_ flags: SyncFlags) -> SyncResult {
    if unsafe kind == .pipe { return unsafe synchronizePipeReceive() }
    return unsafe synchronizeOtherReceive(flags)
  }

  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  func synchronizeOtherReceive(_ flags: SyncFlags) -> SyncResult {
    guard unsafe begin() else { return unsafe synchronizeMonitoredReceive(flags) }
    let result = unsafe takeIn(flags)
    unsafe stamp(ring)
    unsafe end()
    return result
  }

  /// The part of a receive sync between taking the ring's lock and releasing it, without the time stamp.
  ///
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  func takeIn(_ flags: SyncFlags) -> SyncResult {
    let (accepted, result) = unsafe acceptOrReset()
    let outcome = unsafe takeIn(accepted, flags)
    return outcome.isFailure ? outcome : result
  }

  /// The cursors of a receive ring, reset if they were out of place: it is synced even then, so that packets continue to
  /// arrive.
  @inline(__always)
  func acceptOrReset() -> (AcceptedCursors, SyncResult) {
    if let checked = unsafe kring.acceptReceive(ring) { return (checked, .done) }
    return unsafe (reset(), .reset)
  }

  /// The part of a receive sync that depends on the port's kind; the caller has locked the ring.
  #if !DEBUG
    @_noLocks @_noAllocation
  #endif
  @inline(__always)
  func takeIn(_ accepted: AcceptedCursors, _ flags: SyncFlags) -> SyncResult {
    let head = accepted.head
    unsafe kring.count(.syncs)
    switch unsafe kind {
    case .backend:
      let outcome = unsafe backendSynchronize(upTo: head, flags)
      if outcome.isFailure { return outcome }
    case .vale:
      unsafe switchReceive(upTo: head)
    case .discard, .null, .pipe:
      unsafe kring.store(hwcur: head)
      unsafe finalize(tail: accepted.tail)
    case .monitor:
      unsafe monitorReceive(upTo: head, accepted.tail)
      if unsafe kring.state.contains(.stopped) { return .failed }
    }
    return .done
  }

  /// Wakes the sleepers at the other end, which wait for progress of this side.
  @inline(never)
  func wakePeer() {
    unsafe kring.count(.systemCalls)
    unsafe kring.outboxWaitWord(waitWord.list).wake(doorbells)
  }

  /// Discards all sent packets at once, and counts them as drops.
  func discard(upTo head: UInt32) {
    unsafe finalize(tail: discardSlots(upTo: head))
  }

  /// ``discard(upTo:)`` without showing the application its free slots.
  ///
  /// - Returns: The end of the free slots.
  func discardSlots(upTo head: UInt32) -> UInt32 {
    let ring = unsafe ring
    let first = unsafe kring.hwcur(below: ring.slotCount) ?? head
    unsafe kring.countDrop(.notAttached, UInt64(ring.distance(from: first, to: head)))
    unsafe kring.store(hwcur: head)
    return unsafe head == 0 ? ring.slotCount &- 1 : head &- 1
  }

  // Calls through a pointer, which the compiler cannot follow; a backend annotates its own functions.
  @_semantics("no_performance_analysis")
  @inline(never)
  private func backendSynchronize(upTo head: UInt32, _ flags: SyncFlags) -> SyncResult {
    guard unsafe !kring.state.contains(.stopped) else { return .stopped }
    // Only receive rings have targets.
    if unsafe parts.pointee.forwarding != nil { unsafe forwardReleased(upTo: head) }
    guard let tail = unsafe moveByBackend(upTo: head, flags) else { return .failed }
    unsafe finalize(tail: tail)
    return .done
  }

  /// Has the backend move the packets.
  ///
  /// - Returns: The end of the application's slots, which the caller shows; nil when the backend failed.
  @_semantics("no_performance_analysis")
  @inline(__always)
  func moveByBackend(upTo head: UInt32, _ flags: SyncFlags) -> UInt32? {
    let failure = unsafe backend.synchronize(backend.context, parts, head, flags.rawValue)
    // The backend has validated the value that it stored, but a peer may have changed it since.
    return unsafe failure == 0 ? kring.hwtail(below: ring.slotCount) : nil
  }
}
