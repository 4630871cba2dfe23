internal import CLinux
internal import Glibc

/// A thread whose blocking calls can be ended from outside.
package final class WorkerThread {
  private let thread: pthread_t

  /// Starts `body`.
  ///
  /// - Returns: Nil when there can be no more threads.
  package init?(_ body: @escaping @Sendable () -> Void) {
    // Sent by interrupt(): the handler does nothing, but system calls end with EINTR.
    StopSignals.handle(SIGURG) { _ in }
    let start = unsafe Unmanaged.passRetained(ThreadStart(body))
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { context in
        // Whoever made the thread may have it blocked.
        StopSignals.change(SIG_UNBLOCK, [SIGURG])
        if let context = unsafe context {
          unsafe Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue().run()
        }
        return nil
      }, start.toOpaque())
    guard code == 0 else {
      unsafe start.release()
      return nil
    }
    self.thread = thread
  }

  /// Ends the system call that the thread sleeps in, if it does. One that it is about to make is not
  /// ended: ask again until the thread has noticed.
  package func interrupt() {
    pthread_kill(thread, SIGURG)
  }

  /// Waits for the end of the thread; to be called once.
  package func join() {
    pthread_join(thread, nil)
  }

  /// What tells the calling thread from others in messages, such as `0x7f5c8c2006c0`.
  package static var currentText: String {
    "0x" + TextFormat.hexadecimal(UInt(pthread_self()), 1)
  }

  /// Keeps the calling thread on one CPU.
  ///
  /// - Returns: The `errno` of the refusal; 0 for success.
  package static func pin(to cpu: Int) -> CInt {
    guard cpu >= 0 && cpu < 1 << 16 else { return EINVAL }
    var mask = [UInt64](repeating: 0, count: cpu / 64 + 1)
    mask[cpu / 64] = 1 << UInt64(cpu % 64)
    return unsafe sched_setaffinity(0, UInt(mask.count * 8), &mask) == 0 ? 0 : errno
  }

  /// CPUs that the machine has switched on.
  package static var cpuCount: Int { max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))) }
}

private final class ThreadStart: Sendable {
  let run: @Sendable () -> Void

  init(_ run: @escaping @Sendable () -> Void) {
    self.run = run
  }
}
