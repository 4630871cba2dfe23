package import CLinux
internal import Glibc
internal import Synchronization

/// A thread that may sleep until rings make progress.
///
/// A thread that waits for a single port whose packets move only in shared memory sleeps on the ``Bell`` of the
/// binding. That costs one system call for the sleeper and one for the waker. In all other cases the thread
/// sleeps in ppoll(2), on descriptors that include its doorbell (``Watch``), and needs another system call to
/// consume the doorbell's event.
package final class Sleeper {
  private let doorbells: DoorbellTable
  private let isAlone: Bool
  private let longestSleep: UInt64?
  /// Created on first use.
  private var madeWatch: Watch?

  /// The number of system calls while waiting, and the number of sleeps.
  package private(set) var systemCalls: UInt64 = 0
  package private(set) var sleeps: UInt64 = 0

  /// The longest sleep, in nanoseconds, if other processes ring the doorbell.
  ///
  /// Such a process may be stopped before it rings, and a malicious one may never ring, or may break the
  /// doorbell.
  package static let longestSleep: UInt64 = 1_000_000_000

  /// - Parameters:
  ///   - doorbells: The table with the doorbell to watch.
  ///   - isAlone: Whether no other sleeper shares the doorbell of the process.
  ///   - longest: The longest sleep if other processes ring the doorbell, in nanoseconds.
  package init(
    doorbells: DoorbellTable, isAlone: Bool = false,
    lookingAgainAfter longest: UInt64 = Sleeper.longestSleep
  ) {
    self.doorbells = doorbells
    self.isAlone = isAlone
    longestSleep = doorbells.isShared ? longest : nil
  }

  /// The watch for sleeps on descriptors, created on the first call.
  ///
  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when no descriptor is left.
  func watch() throws(NetmapError) -> Watch {
    if let madeWatch { return madeWatch }
    let made = try Watch(doorbells, isAlone: isAlone)
    madeWatch = made
    return made
  }

  /// A port to wait for, with the conditions to wait for.
  package struct Item {
    package let port: MappedPort
    package let wanted: Readiness
    package var ready: Readiness = []

    package init(port: MappedPort, wanted: Readiness) {
      self.port = port
      self.wanted = wanted
    }

    /// Whether the sleeper must poll for the wanted conditions.
    var isPolled: Bool {
      port.polledDirections.contains { wanted.contains($0 == .receive ? .receive : .transmit) }
    }
  }

  /// Where a thread sleeps, which determines how to wake it.
  @unsafe
  private enum Place {
    /// On the bell of the binding, unless its count differs from the stored count.
    case bell(Bell, UInt32, binding: Int)
    case descriptors(Watch)

    var announcement: Announcement {
      switch unsafe self {
      case .bell(_, _, let binding): .bell(ofBinding: binding)
      case .descriptors(let watch): .doorbell(watch.doorbell)
      }
    }
  }

  private func place(
    for items: [Item], and descriptors: [pollfd]
  ) throws(NetmapError) -> Place {
    if items.count == 1, descriptors.isEmpty, let bell = unsafe items[0].port.bell {
      return unsafe .bell(bell, bell.count, binding: items[0].port.bindingIndex)
    }
    return unsafe .descriptors(try watch())
  }

  /// The first and the longest pause between checks, in nanoseconds, when no event is certain to end a sleep.
  private static let shortestPause: UInt64 = 50_000
  private static let longestPause: UInt64 = 10_000_000

  /// Implements poll(2) for ports and descriptors: syncs every port, and sleeps until one of the ports or
  /// descriptors is ready.
  ///
  /// Syncs every port at least once, even if another one is ready or the time-out has expired.
  ///
  /// - Parameters:
  ///   - items: The ports; `ready` is set on return.
  ///   - descriptors: The caller's own descriptors; `revents` is set on return.
  ///   - timeout: Nanoseconds; nil waits without limit, 0 does not sleep.
  /// - Returns: The number of ports and descriptors that are ready.
  /// - Throws: ``NetmapError`` `EINTR` when a signal handler ran, `EMFILE` or `ENFILE` when no descriptor is
  ///   left, or the error of ppoll(2).
  package func wait(
    for items: inout [Item], and descriptors: inout [clinux_pollfd], timeout: UInt64?
  ) throws(NetmapError) -> Int {
    let deadline = timeout.map { monotonicNanoseconds() &+ $0 }
    var sure = true
    var ready = scan(&items, &sure)
    if !descriptors.isEmpty {
      ready += try poll(&descriptors, timeout: 0)
    }
    let isPolled = items.contains { $0.isPolled }
    var pause = Self.shortestPause
    var leavesOutBackends = false
    while ready == 0 {
      let left: UInt64?
      if let deadline {
        let now = monotonicNanoseconds()
        guard now < deadline else { return 0 }
        left = deadline - now
      } else {
        left = nil
      }
      // False when the list of waiters has no room for this sleeper, or another thread is syncing a ring at the
      // moment.
      sure = true
      let place = unsafe try place(for: items, and: descriptors)
      let announcement = unsafe place.announcement
      // Also disarm when a signal ends the sleep: a word that stays armed costs the next waker a system call, and
      // makes the next sleeper count as one of several.
      defer {
        if !doorbells.isShared {
          for item in items { item.port.disarm(item.wanted, as: announcement) }
        }
      }
      for item in items where !item.port.arm(item.wanted, as: announcement) { sure = false }
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      ready = scan(&items, &sure)
      if ready == 0 {
        for item in items { item.port.countSleep(item.wanted) }
        sleeps += 1
        // Without a certain wake-up, the sleep must end by itself.
        var limit = left
        if let longestSleep { limit = min(limit ?? .max, longestSleep) }
        if !sure || !doorbells.isReliable { limit = min(limit ?? .max, Self.longestPause) }
        if isPolled || leavesOutBackends { limit = min(limit ?? .max, pause) }
        let hasRung: Bool
        switch unsafe place {
        case .bell(let bell, let count, _):
          systemCalls += 1
          unsafe try bell.sleep(unlessRungSince: count, timeout: limit)
          hasRung = false
        case .descriptors(let watch):
          if let next = watch.listenAgain() { limit = min(limit ?? .max, next) }
          hasRung = try sleep(
            items, &descriptors, watch, timeout: limit, leavingOutBackends: leavesOutBackends)
        }
        pause = min(pause * 2, Self.longestPause)
        ready = scan(&items, &sure) + descriptors.count { $0.revents != 0 }
        if ready == 0 { madeWatch?.noteNothing() } else { madeWatch?.forgetRings() }
        // Packets may wait for room in a ring whose slots the application holds. The backend's descriptor stays
        // readable meanwhile and would end every sleep at once, so every other sleep leaves it out.
        leavesOutBackends = hasRung && ready == 0
      }
    }
    return ready
  }

  private func scan(_ items: inout [Item], _ sure: inout Bool) -> Int {
    var ready = 0
    var passedOver = false
    for index in items.indices {
      items[index].ready = items[index].port.scan(items[index].wanted, passedOver: &passedOver)
      if !items[index].ready.isEmpty { ready += 1 }
    }
    if passedOver { sure = false }
    return ready
  }

  /// - Returns: Whether a backend's descriptor ended the sleep.
  private func sleep(
    _ items: [Item], _ descriptors: inout [pollfd], _ watch: Watch, timeout: UInt64?,
    leavingOutBackends: Bool
  ) throws(NetmapError) -> Bool {
    var others = descriptors
    for item in items where !leavingOutBackends {
      for entry in item.port.pollDescriptors
      where item.wanted.contains(entry.direction == .receive ? .receive : .transmit) {
        others.append(pollfd(fd: entry.file, events: entry.events, revents: 0))
      }
    }
    let backendsEnd = others.count
    for item in items {
      for file in item.port.alarmDescriptors {
        others.append(pollfd(fd: file, events: Int16(POLLIN), revents: 0))
      }
    }
    let alarmsEnd = others.count
    for item in items { others.append(pollfd(fd: item.port.carrier, events: 0, revents: 0)) }
    // ppoll, although epoll_wait alone would save a system call: a stop followed by SIGCONT ends an epoll_wait
    // with EINTR, as if a signal handler had run, but lets a ppoll continue.
    others.append(pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0))
    _ = try poll(&others, timeout: timeout)
    if let last = others.last, last.revents != 0 {
      systemCalls += 1
      watch.consumeRings()
    }
    for (item, entry) in zip(items, others[alarmsEnd...]) where entry.revents != 0 {
      item.port.abandon()
    }
    for index in descriptors.indices { descriptors[index].revents = others[index].revents }
    return others[descriptors.count..<backendsEnd].contains { $0.revents != 0 }
  }

  private func poll(
    _ descriptors: inout [pollfd], timeout: UInt64?
  ) throws(NetmapError) -> Int {
    var time = timespec()
    if let timeout {
      time.tv_sec = Int(min(timeout / 1_000_000_000, UInt64(Int32.max)))
      time.tv_nsec = Int(timeout % 1_000_000_000)
    }
    systemCalls += 1
    let result = unsafe withUnsafePointer(to: time) { time in
      unsafe ppoll(
        &descriptors, nfds_t(descriptors.count), timeout == nil ? nil : time, nil)
    }
    guard result >= 0 else { throw systemError("ppoll", "\(descriptors.count) descriptors") }
    return Int(result)
  }
}

/// The current time of the monotonic clock, in nanoseconds.
package func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
