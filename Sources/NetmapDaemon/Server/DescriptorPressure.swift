internal import Glibc
internal import NetmapCore

// Descriptor pressure.
//
// The daemon frees closed descriptors with a delay: the control thread ends one binding after the
// other, and the closer closes descriptors of other processes. Under pressure, requests wait in the
// queues of their sockets until these closes are done. The server itself does not wait.

extension Server {
  /// How long peers wait for pending closes at most, nanoseconds.
  ///
  /// The time is enough to detach programs from interfaces.
  private static let settleTime: UInt64 = 200_000_000
  /// How often the server checks whether enough descriptors are free, milliseconds.
  static let parkPause: CInt = 2

  /// The most descriptors that a request needs: its own two, copies of these, and the port's.
  private static let descriptorsNeeded = 10

  /// Whether the server may accept a connection or read a message: enough descriptors are free, no
  /// pending close will free any, or peers have waited in vain just before.
  ///
  /// If not, the server stops serving peers until one of these holds, or until `settleTime` has
  /// passed.
  func makeRoom() -> Bool {
    guard !isSettled, !hasRoom else { return true }
    // Ending clients without ports takes no time, so try that before peers have to wait.
    endPortless()
    let now = monotonicNanoseconds()
    guard now >= parksAgainAt, !hasRoom else { return true }
    parkedUntil = now + Self.settleTime
    lookAtLeavers(by: .max)
    return false
  }

  /// Whether no pending close is left that could free descriptors.
  private var isSettled: Bool {
    control.isUpToDate && closer.isIdle && ending.isEmpty
      && !clients.values.contains(where: \.mayBeGone)
  }

  /// Serves peers again after descriptor pressure, once they need not wait any longer.
  func unparkIfPossible() {
    acceptAgain()
    guard let time = parkedUntil else { return }
    reap()
    let now = monotonicNanoseconds()
    guard hasRoom || isSettled || now >= time else { return }
    parkedUntil = nil
    // For that time the server refuses requests that have waited in vain, instead of making them
    // wait again.
    parksAgainAt = now + Self.settleTime / 2
  }

  var hasRoom: Bool {
    var files: [CInt] = []
    defer { for file in files { close(file) } }
    for _ in 0..<Self.descriptorsNeeded {
      let file = fcntl(0, F_DUPFD_CLOEXEC, 0)
      guard file >= 0 else { return false }
      files.append(file)
    }
    return true
  }
}
