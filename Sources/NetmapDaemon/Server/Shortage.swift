internal import Glibc
internal import NetmapCore

// When descriptors run short. What has been closed is given up a little later: the control thread ends
// bindings one after the other, the closer closes what others made. Whoever asks meanwhile waits for that,
// in the queue of the socket; the server does not.

extension Server {
  /// How long peers wait at most for what is being closed, nanoseconds. Programs are taken off interfaces in
  /// that.
  private static let settleTime: UInt64 = 200_000_000
  /// How often it is looked whether enough has been closed, milliseconds.
  static let parkPause: CInt = 2

  /// What a request needs at most: its own two, copies of them, and those of a port.
  private static let descriptorsNeeded = 10

  /// Whether somebody may be accepted: there is room, or nothing is left to come free.
  ///
  /// If not, peers are not served until there is.
  func makeRoom() -> Bool {
    guard !isSettled, !hasRoom else { return true }
    // What takes no time, whoever waits.
    endPortless()
    let now = monotonicNanoseconds()
    guard now >= parksAgainAt, !hasRoom else { return true }
    parkedUntil = now + Self.settleTime
    lookAtLeavers(by: .max)
    return false
  }

  /// Whether there is nothing left to come free.
  private var isSettled: Bool {
    control.isUpToDate && closer.isIdle && ending.isEmpty
      && !clients.values.contains(where: \.mayBeGone)
  }

  /// Serves peers again, if they were not served for want of descriptors and need not wait any more.
  func unparkIfPossible() {
    acceptAgain()
    guard let time = parkedUntil else { return }
    reap()
    let now = monotonicNanoseconds()
    guard hasRoom || isSettled || now >= time else { return }
    parkedUntil = nil
    // Who has waited in vain is refused.
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
