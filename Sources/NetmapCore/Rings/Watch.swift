internal import CLinux
internal import Glibc

/// A sleeper's own watch on a doorbell: an epoll instance that reports each ring of it once, so a wake-up is
/// not taken from anybody else who watches the same doorbell.
///
/// The worker's watches the doorbells of strangers as well. Whoever rings it for nothing again and again is
/// not listened to for a while (``RingThrottle``).
///
/// Used by the sleeper's thread alone.
final class Watch {
  let doorbell: UInt32
  /// Readable when the doorbell has rung since ``consumeRings()``.
  let descriptor: CInt
  private let doorbells: DoorbellTable
  private let watched: CInt
  /// Whether nobody else watches the doorbell; then it can be left empty, and be ignored for a while.
  private let isAlone: Bool

  /// Other doorbells that it watches, by descriptor.
  private var peers: [CInt: PeerBell] = [:]
  private var throttle = RingThrottle()
  /// What has rung since the last sleep, and what is not listened to now: descriptors.
  private var rung: [CInt] = []
  private var ignored: Set<CInt> = []

  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when there are no descriptors left.
  init(_ doorbells: DoorbellTable, isAlone: Bool) throws(NetmapError) {
    let doorbell = try doorbells.acquire()
    let watch = epoll_create1(CInt(EPOLL_CLOEXEC))
    watched = doorbells.watched(of: doorbell)
    guard watch >= 0, Self.set(EPOLL_CTL_ADD, watched, in: watch) else {
      let error = systemError(
        "epoll_create1", "sleeper", remedy: "raise the limit of open files (ulimit -n)")
      if watch >= 0 { close(watch) }
      doorbells.release(doorbell)
      throw error
    }
    self.doorbell = doorbell
    descriptor = watch
    self.doorbells = doorbells
    self.isAlone = isAlone && doorbells.isShared
  }

  deinit {
    close(descriptor)
    doorbells.release(doorbell)
  }

  /// Has rings of another doorbell reported as well.
  func add(_ bell: PeerBell) {
    // Where there is no memory for it, the sleep's own end takes its place.
    if Self.set(EPOLL_CTL_ADD, bell.file, in: descriptor) { peers[bell.file] = bell }
  }

  /// Rings of such a doorbell are reported no more.
  func remove(_ bell: PeerBell) {
    guard peers.removeValue(forKey: bell.file) != nil else { return }
    ignored.remove(bell.file)
    _ = epoll_ctl(descriptor, EPOLL_CTL_DEL, bell.file, nil)
  }

  private static func set(_ operation: CInt, _ file: CInt, in watch: CInt, isHeard: Bool = true)
    -> Bool
  {
    var event = unsafe epoll_event()
    unsafe event.events =
      isHeard ? CLINUX_EPOLLIN | CLINUX_EPOLLRDHUP | CLINUX_EPOLLET : CLINUX_EPOLLET
    unsafe event.data.fd = file
    return unsafe epoll_ctl(watch, operation, file, &event) == 0
  }

  /// Takes note of rings, so that they do not end the next sleep, and sees to it that there is room for others.
  func consumeRings() {
    let most = 32
    unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: most) { events in
      // If it fails, or there are more, they stay, and the next sleep is short.
      let count = unsafe epoll_wait(descriptor, events.baseAddress, CInt(most), 0)
      for index in 0..<max(0, Int(count)) {
        let event = unsafe events[index]
        let ending = CLINUX_EPOLLRDHUP | CLINUX_EPOLLHUP | CLINUX_EPOLLERR
        consume(unsafe event.data.fd, hasEnded: unsafe event.events & ending != 0)
      }
    }
  }

  private func consume(_ file: CInt, hasEnded: Bool) {
    if file == watched {
      // Nobody's doorbell ends while it has it, unless somebody shuts it down.
      if hasEnded, doorbells.isShared { doorbells.breakDown() }
      doorbells.makeRoom(leaving: isAlone ? 0 : 1)
      if isAlone { rung.append(file) }
    } else if let bell = peers[file] {
      // Who spoils its own is not heard any more.
      guard !hasEnded, BellSocket.makeRoom(in: file, leaving: 0) else { return remove(bell) }
      rung.append(file)
    }
  }

  // MARK: - Rings for nothing

  /// What has rung was worth it.
  func forgetRings() { rung.removeAll(keepingCapacity: true) }

  /// Nothing was ready after what has rung.
  func noteNothing() {
    guard !rung.isEmpty else { return }
    let now = monotonicNanoseconds()
    for file in rung {
      let isTooMuch =
        file == watched
        ? throttle.noteNothing(at: now) : peers[file]?.throttle.noteNothing(at: now) ?? false
      guard isTooMuch, Self.set(EPOLL_CTL_MOD, file, in: descriptor, isHeard: false) else {
        continue
      }
      ignored.insert(file)
    }
    forgetRings()
  }

  /// Something has been done for somebody who rings the doorbell itself.
  func noteSomething() {
    if throttle.hasDoubts { throttle.forget() }
  }

  /// Listens again to whom it is time to listen to. What rang meanwhile is reported.
  ///
  /// - Returns: In how many nanoseconds to do so again; nil where nobody is ignored.
  func listenAgain() -> UInt64? {
    guard !ignored.isEmpty else { return nil }
    let now = monotonicNanoseconds()
    var next: UInt64?
    for file in ignored {
      let throttle = file == watched ? throttle : peers[file]?.throttle ?? RingThrottle()
      if throttle.until <= now {
        _ = Self.set(EPOLL_CTL_MOD, file, in: descriptor)
        ignored.remove(file)
      } else {
        next = min(next ?? .max, throttle.until - now)
      }
    }
    return next
  }
}
