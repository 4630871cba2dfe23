internal import CLinux
internal import Glibc
internal import Synchronization

/// Turns `SIGINT` and `SIGTERM` into a request to stop.
///
/// The handler only records the first signal and wakes the thread that waits on the ``StopRequest``; that thread
/// calls ``take()`` and decides. Signals less than a second after the first have no effect, because one request
/// can arrive twice: timeout(1) signals its child, and then the child's process group. A later signal ends the
/// process.
package enum StopSignals {
  private static let signals = [SIGINT, SIGTERM]
  private static let state = SignalState()

  /// Nanoseconds after the first signal in which other signals have no effect.
  ///
  /// Computed, because a signal handler must not initialize a variable.
  private static var grace: UInt64 { 1_000_000_000 }

  /// Makes this thread receive the signals.
  ///
  /// ``WorkerThread`` and the engine start their threads with all signals blocked, so no other thread receives
  /// them.
  package static func install(waking request: StopRequest) {
    // Initializes `state` before the handler can run.
    state.descriptor.store(request.wakeDescriptor, ordering: .relaxed)
    // Restarts system calls: opening a port must not fail because a stop is requested. poll(2) still ends.
    for signal in signals { handle(signal, flags: SA_RESTART) { StopSignals.note($0) } }
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
    let now = Clock.monotonic()
    let (isFirst, first) = state.firstTime.compareExchange(
      expected: 0, desired: now, ordering: .relaxed)
    guard isFirst else {
      if now >= first &+ grace {
        // Takes effect when the handler returns and the signal is no longer blocked.
        signal(number, SIG_DFL)
        raise(number)
      }
      return
    }
    let saved = errno
    state.pending.store(number, ordering: .relaxed)
    var one: UInt64 = 1
    _ = unsafe write(state.descriptor.load(ordering: .relaxed), &one, 8)
    errno = saved
  }

  static func handle(
    _ number: CInt, flags: CInt = 0, _ handler: @escaping @convention(c) (CInt) -> Void
  ) {
    var action = sigaction()
    action.sa_flags = flags
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
  /// When the first signal arrived, in monotonic nanoseconds; 0 before.
  let firstTime = Atomic<UInt64>(0)
}
