internal import CLinux
internal import Glibc

extension SyncLoop {
  /// Drives the rings until the loop is asked to stop (``MappedPort/requestLoopStop()``), and ends it. Blocks.
  ///
  /// Handlers of signals run meanwhile, and do not end the loop.
  ///
  /// - Parameters:
  ///   - kicks: The eventfds by which the application wakes the loop; nil for a loop that looks again and again.
  ///   - pause: Between two turns of such a loop, microseconds; 0 for none.
  ///   - sleeper: Sleeps of the calling thread.
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when no descriptor is left to sleep on.
  package func run(_ kicks: LoopKicks?, pause: UInt32, _ sleeper: Sleeper) throws(NetmapError) {
    defer { end() }
    guard let kicks, !isPolling else {
      while !turn(nil).isLast { if pause > 0 { usleep(pause) } }
      return
    }
    let watch = try sleeper.watch()
    let announcement = Announcement.doorbell(watch.doorbell)
    defer { port.disarm([.transmit, .receive], as: announcement) }
    var sleep = LoopSleep(port)
    while true {
      let turn = turn(announcement)
      if turn.isLast { return }
      if !turn.hasMore { sleep.sleep(turn, kicks, watch) }
    }
  }
}

/// The sleeps of a loop that is notified.
private struct LoopSleep {
  /// The longest sleep, and the longest one after progress, milliseconds: an application without a fence between the store
  /// of its cursors and its look whether a kick is wanted may leave a kick out.
  private static let longest: CInt = 1000
  private static let shortest: CInt = 1
  private static let longestPause: CInt = 10

  private let port: MappedPort
  private var progress: UInt64 = 0
  /// Whether a backend's descriptor has ended the last sleep.
  private var hasRung = false
  /// The length of a sleep that nothing is certain to end, milliseconds.
  private var pause: CInt = 1
  private var patience = Self.shortest

  init(_ port: MappedPort) {
    self.port = port
  }

  mutating func sleep(_ turn: SyncLoop.Turn, _ kicks: LoopKicks, _ watch: Watch) {
    let now = port.progress([.transmit, .receive])
    // A backend's descriptor may stay readable although its packets have no room: every other sleep leaves it out.
    let leavesOut = hasRung && now == progress
    pause = now == progress ? min(pause * 2, Self.longestPause) : 1
    patience = now == progress ? min(patience * 2, Self.longest) : Self.shortest
    progress = now
    var limit = min(turn.isUnsure ? Self.longestPause : Self.longest, patience)
    if leavesOut || !port.polledDirections.isEmpty { limit = min(limit, pause) }
    var entries = [
      pollfd(fd: kicks.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    for entry in port.pollDescriptors where !leavesOut {
      guard turn.wanted.contains(entry.direction == .receive ? .receive : .transmit) else {
        continue
      }
      entries.append(pollfd(fd: entry.file, events: entry.events, revents: 0))
    }
    let count = unsafe poll(&entries, nfds_t(entries.count), limit)
    hasRung = false
    guard count > 0 else { return }
    if entries[0].revents != 0 { kicks.consume() }
    if entries[1].revents != 0 { watch.consumeRings() }
    hasRung = entries[2...].contains { $0.revents != 0 }
  }
}
