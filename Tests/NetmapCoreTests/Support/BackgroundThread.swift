import Glibc
import NetmapCore
import Synchronization
import Testing

/// A separate thread, for code that blocks.
final class BackgroundThread: Sendable {
  nonisolated(unsafe) private var thread = pthread_t()
  private let hasEnded = Atomic<Bool>(false)

  private final class Work {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  init(_ body: @escaping @Sendable () -> Void) {
    let work = unsafe Unmanaged.passRetained(
      Work { [self] in
        body()
        hasEnded.store(true, ordering: .releasing)
      }
    ).toOpaque()
    let code = unsafe pthread_create(
      &thread, nil,
      { work in
        guard let work = unsafe work else { return nil }
        unsafe Unmanaged<Work>.fromOpaque(work).takeRetainedValue().body()
        return nil
      }, work)
    precondition(code == 0, "no thread could be made")
  }

  /// Waits until the thread has ended. After a minute, records a failure and leaves the thread running.
  func join() {
    let deadline = monotonicNanoseconds() + 60_000_000_000
    while !hasEnded.load(ordering: .acquiring) {
      guard monotonicNanoseconds() < deadline else {
        Issue.record("a thread of the test has not ended in 60 s")
        return
      }
      usleep(100)
    }
    unsafe pthread_join(thread, nil)
  }

  /// Interrupts the thread with a signal.
  func signal(_ number: CInt) {
    unsafe pthread_kill(thread, number)
  }
}

/// Yields until `condition` holds; false when it did not within ten seconds.
func eventually(_ condition: () -> Bool) -> Bool {
  let deadline = monotonicNanoseconds() + 10_000_000_000
  while !condition() {
    guard monotonicNanoseconds() < deadline else { return false }
    sched_yield()
  }
  return true
}

/// CPU time of the calling thread, nanoseconds.
func threadCPUNanoseconds() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

extension TestPort {
  /// poll(2) on this port alone.
  ///
  /// - Returns: The ready directions; empty after the timeout, even if the last scan found something,
  ///   because no wake-up ended that sleep.
  func wait(
    _ sleeper: Sleeper, for wanted: Readiness, milliseconds: UInt64? = 10_000
  ) throws(NetmapError) -> Readiness {
    var items = [Sleeper.Item(port: mapped, wanted: wanted)]
    var none: [pollfd] = []
    let start = monotonicNanoseconds()
    let count = try sleeper.wait(
      for: &items, and: &none, timeout: milliseconds.map { $0 * 1_000_000 })
    precondition(count == (items[0].ready.isEmpty ? 0 : 1))
    if let milliseconds, milliseconds > 0,
      monotonicNanoseconds() - start >= milliseconds * 1_000_000
    {
      return []
    }
    return items[0].ready
  }

  func sleeper() -> Sleeper { Sleeper(doorbells: engine.doorbells) }
}
