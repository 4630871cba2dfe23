internal import Glibc

// When descriptors run short. What has been closed is given up a little later: the control thread ends
// bindings one after the other, and a process that hung up is kept until its end is certain. Nobody is to
// be refused for want of what nobody has any more.

extension Server {
  /// How long everybody waits at most for what is being closed, nanoseconds. Programs are taken off
  /// interfaces in that.
  private static let settleTime: UInt64 = 200_000_000

  /// What a request needs at most: its own two, copies of them, and those of a port.
  private static let descriptorsNeeded = 8

  /// Before a message is received, whose descriptors would be lost if there were no room for them: gives up
  /// what nobody has any more, when there may be none.
  func makeRoom() {
    let isSettled = control.isUpToDate && !clients.values.contains { $0.leavesAt != nil }
    guard !isSettled, !hasRoom else { return }
    settle()
  }

  /// Gives up what nobody has any more. Blocks while that lasts.
  func settle() {
    endLeavers(by: .max)
    control.catchUp(within: Self.settleTime)
  }

  private var hasRoom: Bool {
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
