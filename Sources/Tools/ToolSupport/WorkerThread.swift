internal import CLinux
internal import Glibc
internal import NetmapCore

/// A thread whose blocking system calls other threads can interrupt.
package final class WorkerThread {
  private let thread: pthread_t

  /// Starts a thread that runs `body`.
  ///
  /// - Returns: Nil when the kernel allows no more threads.
  package init?(_ body: @escaping @Sendable () -> Void) {
    // For interrupt(): the handler does nothing, but the signal ends system calls with EINTR.
    StopSignals.handle(SIGURG) { _ in }
    let thread = try? EngineThread.start("worker") {
      StopSignals.change(SIG_UNBLOCK, [SIGURG])
      body()
    }
    guard let thread else { return nil }
    self.thread = thread
  }

  /// Ends the system call that the thread sleeps in.
  ///
  /// Does not end a call that the thread is about to make: repeat until the thread has noticed.
  package func interrupt() {
    pthread_kill(thread, SIGURG)
  }

  /// Waits for the thread to end; call it once.
  package func join() {
    pthread_join(thread, nil)
  }

  /// An identifier of the calling thread for messages, such as `0x7f5c8c2006c0`.
  package static var currentText: String {
    "0x" + TextFormat.hexadecimal(UInt(pthread_self()), 1)
  }

  /// Binds the calling thread to one CPU.
  ///
  /// - Returns: 0, or the `errno` of the failure.
  package static func pin(to cpu: Int) -> CInt {
    guard cpu >= 0 && cpu < 1 << 16 else { return EINVAL }
    var mask = [UInt64](repeating: 0, count: cpu / 64 + 1)
    mask[cpu / 64] = 1 << UInt64(cpu % 64)
    return unsafe sched_setaffinity(0, UInt(mask.count * 8), &mask) == 0 ? 0 : errno
  }

  /// Number of online CPUs.
  package static var cpuCount: Int { max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))) }
}
