internal import Synchronization

/// Which clients have a sync segment mapped, as the engine's own books say: in private memory, whatever the words
/// of the segment are.
///
/// A lock in a segment counts only in the name of one of these (``SenderWatch``). In an engine whose clients are all
/// in its process nobody keeps such books, and every client is one.
package final class SegmentUsers: Sendable {
  /// How often each tag has been entered; nil while nobody keeps books.
  private let counts = Mutex<[UInt64: Int]?>(nil)

  /// A client is about to have the segment, for one binding. Before it is told where the segment is.
  package func add(_ tag: ClientTag) {
    counts.withLock { counts in
      if counts == nil { counts = [:] }
      counts?[tag.rawValue, default: 0] += 1
    }
  }

  /// A client looks at the segment no more for one binding: nothing of it syncs.
  package func remove(_ tag: ClientTag) {
    counts.withLock { counts in
      guard let count = counts?[tag.rawValue] else { return }
      counts?[tag.rawValue] = count > 1 ? count - 1 : nil
    }
  }

  /// Whether a lock's word names somebody who may have taken it.
  func contains(_ rawTag: UInt64) -> Bool {
    counts.withLock { counts in counts.map { $0[rawTag] != nil } ?? true }
  }
}
