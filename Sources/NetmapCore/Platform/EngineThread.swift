package import CLinux
internal import Glibc

/// A thread that the engine runs for itself. It leaves all signals to the threads of the
/// application.
package enum EngineThread {
  /// Starts a thread.
  ///
  /// - Parameters:
  ///   - subject: The name of the thread in messages.
  ///   - body: The work of the thread.
  /// - Returns: The thread, for pthread_join(3) or pthread_detach(3).
  /// - Throws: ``NetmapError`` when the thread cannot be created.
  @discardableResult
  package static func start(
    _ subject: String, _ body: @escaping @Sendable () -> Void
  ) throws(NetmapError) -> pthread_t {
    let argument = unsafe Unmanaged.passRetained(Body(run: body))
    var (all, former) = (sigset_t(), sigset_t())
    unsafe sigfillset(&all)
    // The thread inherits this mask, so there is no moment at which it takes a signal.
    unsafe pthread_sigmask(SIG_SETMASK, &all, &former)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &former, nil) }
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        EngineThread.takeAffinityOfProcess()
        if let argument = unsafe argument {
          unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        }
        return nil
      }, argument.toOpaque())
    guard code == 0 else {
      unsafe argument.release()
      throw NetmapError(
        .init(rawValue: code), "pthread_create", subject,
        reason: unsafe String(cString: strerror(code)), remedy: "raise the limit of threads")
    }
    return thread
  }

  /// Lets the thread run on every CPU that the process's first thread may use.
  ///
  /// Callers may be pinned to a CPU. Engine threads do not inherit that affinity.
  private static func takeAffinityOfProcess() {
    var mask = [UInt64](repeating: 0, count: 128)
    let size = UInt(mask.count * 8)
    if unsafe sched_getaffinity(getpid(), size, &mask) >= 0 {
      _ = unsafe sched_setaffinity(0, size, &mask)
    }
  }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(run: @escaping @Sendable () -> Void) { self.run = run }
  }
}
