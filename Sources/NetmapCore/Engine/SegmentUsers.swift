internal import Synchronization

/// The clients that have a sync segment mapped, as the engine has recorded them in its private memory.
///
/// No word of the segment has a say in this record. A lock in a segment counts only if it is in the name of one of
/// these clients (``SenderWatch``). An engine whose clients are all in its own process keeps no record: there,
/// every client counts.
package final class SegmentUsers: Sendable {
  /// How often each tag has been added; nil while the engine keeps no record.
  private let counts = Mutex<[UInt64: Int]?>(nil)

  /// Records that a client is about to map the segment, for one binding. Call it before the client learns where the
  /// segment is.
  package func add(_ tag: ClientTag) {
    counts.withLock { counts in
      if counts == nil { counts = [:] }
      counts?[tag.rawValue, default: 0] += 1
    }
  }

  /// Records that a client no longer uses the segment for one binding, and syncs none of its rings.
  package func remove(_ tag: ClientTag) {
    counts.withLock { counts in
      guard let count = counts?[tag.rawValue] else { return }
      counts?[tag.rawValue] = count > 1 ? count - 1 : nil
    }
  }

  /// Whether a lock's word names a client that may have taken the lock.
  func contains(_ rawTag: UInt64) -> Bool {
    counts.withLock { counts in counts.map { $0[rawTag] != nil } ?? true }
  }
}
