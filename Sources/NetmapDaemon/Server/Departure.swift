internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The end of a daemon that listens: nobody who is about to connect must find its sockets.
struct Departure {
  private let listeners: [Listener]

  /// - Parameter listeners: Where it listens.
  init(_ listeners: [Listener]) {
    self.listeners = listeners
  }

  /// Asks whether the daemon may end now, and removes its sockets then.
  ///
  /// - Parameter evenIfAsked: Also when somebody has just connected.
  /// - Returns: Whether it may.
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
      // Whoever has the lock is about to connect.
      if error.code.rawValue == ETIMEDOUT, !evenIfAsked { return false }
      // Nobody can have bound the paths anew as long as this process listens on them.
      removeSockets()
    }
    return true
  }

  private func removeSockets() {
    for listener in listeners where listener.removesSocket { unsafe unlink(listener.address.path) }
  }
}
