// Syncs of rings in CSB mode: the application's cursors lie in control blocks, and the ones in the ring are not used.

extension MappedRing {
  /// Whether the ring is one of a loop that drives it by control blocks (``SyncLoop``).
  var isControlled: Bool {
    unsafe !parts.pointee.shownTail.isTail(of: ring)
  }

  /// Syncs this ring of a loop with cursors from its control block.
  ///
  /// Unlike a sync by the ring's own cursors, a receive ring whose cursors are out of place is only reset (as in netmap),
  /// no time is stamped, and no packet is passed on in transparent mode.
  ///
  /// - Parameters:
  ///   - request: The cursors, not validated.
  ///   - flags: What to ask of a backend.
  /// - Returns: The result. With ``SyncResult/done``, the cursors to show are those of the kring.
  func synchronize(_ request: LoadedCursors, _ flags: SyncFlags) -> SyncResult {
    let isPlain = unsafe begin()
    guard unsafe isPlain || beginMonitored() else { return .busy }
    guard let accepted = unsafe kring.accept(request, direction, ring) else {
      unsafe reset()
      unsafe end(isPlain)
      return .reset
    }
    var wakes = false
    var result = SyncResult.done
    if !isPlain {
      (result, wakes) = unsafe moveMonitored(accepted, flags)
    } else if unsafe kind == .pipe {
      wakes = unsafe movePipeSlots(accepted)
    } else if unsafe direction == .transmit {
      result = unsafe send(upTo: accepted.head, flags)
    } else {
      result = unsafe takeIn(accepted, flags)
    }
    unsafe end(isPlain)
    if wakes { unsafe wakePeer() }
    return result
  }

  private func end(_ isPlain: Bool) {
    if isPlain { unsafe end() } else { unsafe endMonitored() }
  }
}
