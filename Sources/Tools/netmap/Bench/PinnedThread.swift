internal import CLinux
internal import Glibc
internal import NetmapCore

/// A thread that is bound to one CPU.
struct PinnedThread<Output: Sendable> {
  /// The thread's result: written by the thread, read after joining it.
  private final class Outcome: @unchecked Sendable {
    var result: Result<Output, BenchError>?
  }

  private let thread: pthread_t
  private let outcome = Outcome()

  /// Starts a thread that runs `body`.
  ///
  /// - Parameters:
  ///   - cpu: The CPU to bind to; one that the process may use.
  ///   - body: Runs once.
  /// - Throws: ``BenchError`` when the kernel allows no more threads.
  init(
    on cpu: Int, _ body: @escaping @Sendable () throws(BenchError) -> Output
  ) throws(BenchError) {
    do throws(NetmapError) {
      thread = try EngineThread.start("netmap bench") { [outcome] in
        outcome.result = Result { () throws(BenchError) in
          try pinThread(to: cpu)
          defer { PreemptionCount.addThread() }
          return try body()
        }
      }
    } catch {
      throw BenchError("\(error)")
    }
  }

  /// Waits for the thread to end; call it once.
  ///
  /// - Returns: The result of the body.
  /// - Throws: The error of the body.
  func join() throws(BenchError) -> Output {
    pthread_join(thread, nil)
    guard let result = outcome.result else {
      throw BenchError("a thread ended without a result")
    }
    return try result.get()
  }
}

private func pinThread(to cpu: Int) throws(BenchError) {
  var mask = [UInt64](repeating: 0, count: cpu / 64 + 1)
  mask[cpu / 64] = 1 << UInt64(cpu % 64)
  guard unsafe sched_setaffinity(0, UInt(mask.count * 8), &mask) == 0 else {
    let code = errno
    throw BenchError("CPU \(cpu) cannot be used: \(unsafe String(cString: strerror(code)))")
  }
}
