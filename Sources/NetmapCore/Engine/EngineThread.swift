package import CLinux
internal import Glibc

/// A thread of the engine's own. Signals are left to the threads of the application.
package enum EngineThread {
  /// Starts one.
  ///
  /// - Parameters:
  ///   - subject: What messages name.
  ///   - body: What it does.
  /// - Returns: The thread, for pthread_join(3) or pthread_detach(3).
  /// - Throws: ``NetmapError`` when no thread can be had.
  @discardableResult
  package static func start(
    _ subject: String, _ body: @escaping @Sendable () -> Void
  ) throws(NetmapError) -> pthread_t {
    let argument = unsafe Unmanaged.passRetained(Body(run: body))
    var (all, former) = (sigset_t(), sigset_t())
    unsafe sigfillset(&all)
    // Inherited, so that there is no moment at which it takes them.
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

  /// Lets the thread run wherever the process may, which is where its first thread may.
  ///
  /// Who starts an engine's thread is often bound to a CPU, which it means to have for itself.
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
