internal import CLinux
internal import Glibc
internal import Synchronization

/// How the threads of a tool are told to stop, and the one that waits for them is woken.
package final class StopRequest: Sendable {
  private let requested = Atomic<Bool>(false)
  /// An eventfd(2): readable when there is something to look at. -1 if there was none to be had; then
  /// waits only last as long as they may.
  let wakeDescriptor: CInt

  package init() {
    wakeDescriptor = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
  }

  deinit {
    if wakeDescriptor >= 0 { close(wakeDescriptor) }
  }

  /// Whether everybody should come to an end. Cheap enough for every batch.
  package var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// Asks everybody to stop.
  package func request() {
    requested.store(true, ordering: .relaxed)
    wake()
  }

  /// Ends the current or the next ``wait(nanoseconds:)``.
  package func wake() {
    var one: UInt64 = 1
    _ = unsafe write(wakeDescriptor, &one, 8)
  }

  /// Sleeps until somebody calls ``wake()``, a signal arrives, or the time is up.
  package func wait(nanoseconds: UInt64) {
    var item = pollfd(fd: wakeDescriptor, events: Int16(POLLIN), revents: 0)
    var time = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    guard unsafe ppoll(&item, 1, &time, nil) > 0 else { return }
    var count: UInt64 = 0
    _ = unsafe read(wakeDescriptor, &count, 8)
  }
}
