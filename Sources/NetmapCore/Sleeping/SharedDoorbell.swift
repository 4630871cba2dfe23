// For waits that are not made by a ``Sleeper``: those of C programs, which sleep in a ppoll(2) of their own.
extension DoorbellTable {
  /// The descriptor on which all sleepers of this process watch for rings, edge-triggered; -1 in an embedded engine.
  ///
  /// Valid as long as the table.
  package var sharedDescriptor: CInt { sharedNumber.map { watched(of: $0) } ?? -1 }

  /// How these sleepers announce themselves; nil in an embedded engine.
  package var sharedAnnouncement: Announcement? { sharedNumber.map { .doorbell($0) } }

  /// Takes rings out of the doorbell, after a sleeper has consumed an edge and before it announces itself again, and
  /// reports which rings have made progress.
  ///
  /// - Parameters:
  ///   - hasEnded: Whether the edge says that a peer has shut the doorbell down.
  ///   - body: Called with a lock held. Gets names of rings (``RingName``), which no process has checked; nil stands for
  ///     all rings.
  /// - Returns: Whether rings are certain to wake sleepers from now on.
  package func takeNames(
    hasEnded: Bool, _ body: (UnsafeBufferPointer<UInt64>?) -> Void
  ) -> Bool {
    if hasEnded { breakDown() }
    unsafe takeNames(body)
    return isReliable
  }
}

extension MappedPort {
  /// The word of the bell that a thread can sleep on if it waits for this port alone; nil when it must watch descriptors.
  ///
  /// Valid as long as the port.
  package var bellWord: UnsafeMutableRawPointer? { unsafe bell?.word }

  /// How a thread announces itself that sleeps on the bell.
  package var bellAnnouncement: Announcement { .bell(ofBinding: bindingIndex) }
}
