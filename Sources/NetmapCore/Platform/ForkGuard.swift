internal import Glibc
internal import Synchronization

/// Distinguishes a process from the children that it forks.
///
/// A fork child has the mappings of an embedded engine but is not part of it. If the child synced,
/// it would move indexes that the parent's engine takes for its own. So each port remembers the
/// process that opened it.
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

  /// Identifies the process that opened a port.
  @unsafe
  package struct Mark {
    private let forks: UnsafeMutablePointer<Atomic<UInt32>>
    private let generation: UInt32

    /// Marks this process.
    package init() {
      unsafe forks = ForkGuard.forks
      unsafe generation = forks.pointee.load(ordering: .relaxed)
    }

    /// Whether the calling process made the mark. False in its fork children.
    @inline(__always)
    package var isThisProcess: Bool {
      unsafe forks.pointee.load(ordering: .relaxed) == generation
    }
  }
}
