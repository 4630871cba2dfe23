internal import Glibc
internal import Synchronization

/// Tells a process from the children it forks.
///
/// A fork child has the mappings of an embedded engine but is not part of it: its syncs would move
/// indexes that the parent's engine believes to be its own. So ports remember the process they were
/// opened in.
package enum ForkGuard {
  /// Counts the forks between the first process and this one. Never freed.
  private nonisolated(unsafe) static let forks: UnsafeMutablePointer<Atomic<UInt32>> = {
    let cell = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    unsafe cell.initialize(to: Atomic(0))
    pthread_atfork(nil, nil) {
      unsafe ForkGuard.forks.pointee.wrappingAdd(1, ordering: .relaxed)
    }
    return unsafe cell
  }()

  /// What a port remembers of the process it was opened in.
  @unsafe
  package struct Mark {
    private let forks: UnsafeMutablePointer<Atomic<UInt32>>
    private let generation: UInt32

    /// Marks this process.
    package init() {
      unsafe forks = ForkGuard.forks
      unsafe generation = forks.pointee.load(ordering: .relaxed)
    }

    /// Whether this still is the process that made the mark, and no fork child of it.
    @inline(__always)
    package var isThisProcess: Bool {
      unsafe forks.pointee.load(ordering: .relaxed) == generation
    }
  }
}
