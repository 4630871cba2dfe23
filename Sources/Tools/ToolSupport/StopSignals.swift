internal import CLinux
internal import Glibc
internal import Synchronization

/// Turns `SIGINT` and `SIGTERM` into a request to stop: the first signal is recorded, the second ends the
/// process.
///
/// The handler only records the signal and wakes the thread that waits on the ``StopRequest``; that thread
/// calls ``take()`` and decides. Threads made between ``block()`` and ``install(waking:)`` never receive the
/// signals.
package enum StopSignals {
  private static let signals = [SIGINT, SIGTERM]
  private static let state = SignalState()

  /// Blocks the signals in this thread, and in all threads that it makes.
  package static func block() {
    change(SIG_BLOCK, signals)
  }

  /// Makes this thread receive the signals.
  package static func install(waking request: StopRequest) {
    // Initializes `state` before the handler can run.
    state.descriptor.store(request.wakeDescriptor, ordering: .relaxed)
    for signal in signals { handle(signal) { StopSignals.note($0) } }
    change(SIG_UNBLOCK, signals)
  }

  /// The signal that has arrived since the last call; nil if none has.
  package static func take() -> CInt? {
    let number = state.pending.exchange(0, ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// The name of a signal for users: `control-C` or `SIGTERM`.
  package static func name(_ signal: CInt) -> String {
    signal == SIGINT ? "control-C" : "SIGTERM"
  }

  /// Runs in the signal handler: must not allocate, lock or print.
  private static func note(_ number: CInt) {
    if state.count.wrappingAdd(1, ordering: .relaxed).oldValue > 0 {
      // Takes effect when the handler returns and the signal is no longer blocked.
      signal(number, SIG_DFL)
      raise(number)
      return
    }
    let saved = errno
    state.pending.store(number, ordering: .relaxed)
    var one: UInt64 = 1
    _ = unsafe write(state.descriptor.load(ordering: .relaxed), &one, 8)
    errno = saved
  }

  static func handle(_ number: CInt, _ handler: @escaping @convention(c) (CInt) -> Void) {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = handler
    unsafe sigaction(number, &action, nil)
  }

  static func change(_ how: CInt, _ signals: [CInt]) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in signals { unsafe sigaddset(&set, signal) }
    unsafe pthread_sigmask(how, &set, nil)
  }
}

private final class SignalState: Sendable {
  let descriptor = Atomic<CInt>(-1)
  let pending = Atomic<CInt>(0)
  let count = Atomic<Int>(0)
}
