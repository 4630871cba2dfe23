internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The end of a daemon that listens: clients that are about to connect must no longer find its
/// sockets.
struct Departure {
  private let listeners: [Listener]

  /// - Parameter listeners: The daemon's listeners.
  init(_ listeners: [Listener]) {
    self.listeners = listeners
  }

  /// Decides whether the daemon may end now, and removes its sockets if so.
  ///
  /// - Parameter evenIfAsked: Whether the daemon may end even if a client has just connected.
  /// - Returns: Whether the daemon may end.
  func isGranted(evenIfAsked: Bool) -> Bool {
    do throws(NetmapError) {
      var locks: [DaemonLock] = []
      for listener in listeners {
        locks.append(try DaemonLock(listener.address, within: evenIfAsked ? 1 : 0))
        var waiting = pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)
        if !evenIfAsked, unsafe poll(&waiting, 1, 0) > 0 { return false }
      }
      removeSockets()
      withExtendedLifetime(locks) {}
    } catch {
      // The process that holds the lock is about to connect.
      if error.code.rawValue == ETIMEDOUT, !evenIfAsked { return false }
      // No other process can have bound the paths again while this process listens on them.
      removeSockets()
    }
    return true
  }

  private func removeSockets() {
    for listener in listeners where listener.removesSocket { unsafe unlink(listener.address.path) }
  }
}
