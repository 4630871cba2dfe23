import Synchronization

/// Writes to shared memory as fast as it can, until it is told to stop.
final class Scribbler: Sendable {
  private let isOver = Atomic<Bool>(false)
  private let thread = Mutex<BackgroundThread?>(nil)

  /// - Parameter body: One round of writing. It runs concurrently with the test.
  init(_ body: @escaping () -> Void) {
    nonisolated(unsafe) let body = body
    thread.withLock {
      $0 = BackgroundThread { [self] in
        while !isOver.load(ordering: .relaxed) { unsafe body() }
      }
    }
  }

  func stop() {
    isOver.store(true, ordering: .relaxed)
    // A test may stop it, and stop it again when it ends. A thread can be joined once.
    thread.withLock {
      $0?.join()
      $0 = nil
    }
  }
}
