internal import CLinux
internal import Glibc
internal import Synchronization

/// Asks the threads of a tool to stop, and wakes the thread that waits for them.
package final class StopRequest: Sendable {
  private let requested = Atomic<Bool>(false)
  /// An eventfd(2), readable after ``wake()``. -1 if the kernel refused one; then only the timeout
  /// ends a wait.
  let wakeDescriptor: CInt

  package init() {
    wakeDescriptor = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
  }

  deinit {
    if wakeDescriptor >= 0 { close(wakeDescriptor) }
  }

  /// Whether the threads should stop; cheap enough to check for every batch.
  package var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// Asks all threads to stop.
  package func request() {
    requested.store(true, ordering: .relaxed)
    wake()
  }

  /// Ends the current or the next ``wait(nanoseconds:)``.
  package func wake() {
    var one: UInt64 = 1
    _ = unsafe write(wakeDescriptor, &one, 8)
  }

  /// Sleeps until another thread calls ``wake()``, a signal arrives, or the time has passed.
  package func wait(nanoseconds: UInt64) {
    var item = pollfd(fd: wakeDescriptor, events: Int16(POLLIN), revents: 0)
    var time = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    guard unsafe ppoll(&item, 1, &time, nil) > 0 else { return }
    var count: UInt64 = 0
    _ = unsafe read(wakeDescriptor, &count, 8)
  }
}
