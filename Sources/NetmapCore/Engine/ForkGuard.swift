internal import Glibc
internal import Synchronization

/// Tells a process from the children it forks.
///
/// A fork child has the mappings of an embedded engine but is not part of it: its syncs would move
/// indexes that the parent's engine believes to be its own. So ports remember the process they were
/// opened in.
package enum ForkGuard {
  private static let forks = Atomic<UInt32>(0)

  private static let installed: Bool = {
    pthread_atfork(nil, nil) { ForkGuard.forks.wrappingAdd(1, ordering: .relaxed) }
    return true
  }()

  /// A number that changes in a fork child. Reading it costs one load.
  @inline(__always)
  package static var generation: UInt32 { forks.load(ordering: .relaxed) }

  /// Begins to count forks.
  package static func install() {
    _ = installed
  }
}
