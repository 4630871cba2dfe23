internal import CLinux
internal import Glibc
internal import Synchronization

/// `SIGINT` and `SIGTERM` as a request to stop: the first is noted, a second ends the process.
///
/// The handler only notes the signal and wakes the thread that waits on the ``StopRequest``; that
/// thread asks ``take()`` and decides. Threads made between ``block()`` and ``install(waking:)`` never
/// see the signals themselves.
package enum StopSignals {
  private static let signals = [SIGINT, SIGTERM]
  private static let state = SignalState()

  /// Keeps the signals away from this thread, and from all threads it makes.
  package static func block() {
    change(SIG_BLOCK, signals)
  }

  /// Takes the signals in this thread from now on.
  package static func install(waking request: StopRequest) {
    // Touched here first: the handler must find everything in place.
    state.descriptor.store(request.wakeDescriptor, ordering: .relaxed)
    for signal in signals { handle(signal) { StopSignals.note($0) } }
    change(SIG_UNBLOCK, signals)
  }

  /// The signal that has arrived since the last call, if any.
  package static func take() -> CInt? {
    let number = state.pending.exchange(0, ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// How users call a signal: `control-C`, or its name.
  package static func name(_ signal: CInt) -> String {
    signal == SIGINT ? "control-C" : "SIGTERM"
  }

  /// Runs in the signal handler: nothing here allocates, locks or prints.
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
