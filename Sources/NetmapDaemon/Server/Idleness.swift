internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// When the daemon wakes up without an event, and when it exits.

extension Server {
  /// Whether no process uses the daemon.
  ///
  /// A token that is not bound yet is use: the program that opened it may bind it at any time.
  private var isIdle: Bool {
    tokens.isEmpty && pending.isEmpty && !control.holdsPorts
      && !usage.values.contains { $0.silent > 0 }
  }

  /// How often the server checks whether processes have received their answers while requests wait
  /// for that, nanoseconds.
  private static let answerPause: UInt64 = 10_000_000

  /// How long the server may sleep, milliseconds; -1 for no limit.
  func timeout() -> CInt {
    if parkedUntil != nil { return Self.parkPause }
    var end: UInt64?
    func wake(at time: UInt64?) {
      if let time { end = min(end ?? .max, time) }
    }
    if let idleExit = settings.idleExit, let idleSince {
      wake(at: idleSince + UInt64(idleExit * 1e9))
    }
    for listener in listeners { wake(at: listener.acceptsAgainAt) }
    for client in clients.values where client.nextLook != .max { wake(at: client.nextLook) }
    wake(at: hostsWatchTime)
    wake(at: silentTime)
    wake(at: unread.nextLook)
    wake(at: postsAgainAt)
    wake(at: viewsEndAgainAt)
    if turns.isHeldUp { wake(at: monotonicNanoseconds() + Self.answerPause) }
    guard let end else { return -1 }
    let now = monotonicNanoseconds()
    return end <= now ? 0 : CInt(clamping: (end - now) / 1_000_000 + 1)
  }

  func noteIdleness() {
    guard isIdle else {
      idleSince = nil
      return
    }
    let now = monotonicNanoseconds()
    guard let since = idleSince, let idleExit = settings.idleExit else {
      idleSince = idleSince ?? now
      return
    }
    guard now >= since + UInt64(idleExit * 1e9) else { return }
    leave(evenIfAsked: false)
  }

  /// Removes the sockets and stops the server.
  ///
  /// - Parameter evenIfAsked: Whether to stop even if a client has just connected.
  func leave(evenIfAsked: Bool) {
    let isGranted =
      if let opener = settings.opener {
        opener.mayLeave(evenIfAsked: evenIfAsked)
      } else {
        Departure(listeners).isGranted(evenIfAsked: evenIfAsked)
      }
    guard isGranted || evenIfAsked else {
      idleSince = monotonicNanoseconds()
      return
    }
    log.info("exiting")
    isStopping = true
  }
}
