internal import CLinux
internal import Glibc

/// A sleeper's own watch on a doorbell: an epoll instance that reports each ring once to this sleeper, whatever
/// other sleepers watch the same doorbell.
///
/// The worker's watch also watches the doorbells of untrusted processes. It ignores for a while a doorbell that
/// causes repeated needless wake-ups (``RingThrottle``).
///
/// Only the sleeper's thread uses it.
final class Watch {
  let doorbell: UInt32
  /// Readable when a watched doorbell has rung since ``consumeRings()``.
  var descriptor: CInt { file.number }
  private let file: PrivateDescriptor
  private let doorbells: DoorbellTable
  private let watched: CInt
  /// Whether no other sleeper watches the doorbell; then this watch may leave it empty, and ignore it for a
  /// while.
  private let isAlone: Bool

  /// The other doorbells that it watches, by descriptor.
  private var peers: [CInt: PeerBell] = [:]
  private var throttle = RingThrottle()
  /// The descriptors that have rung since the last sleep, and those that are ignored now.
  private var rung: [CInt] = []
  private var ignored: Set<CInt> = []

  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when no descriptor is left.
  init(_ doorbells: DoorbellTable, isAlone: Bool) throws(NetmapError) {
    let doorbell = try doorbells.acquire()
    let made = epoll_create1(CInt(EPOLL_CLOEXEC))
    watched = doorbells.watched(of: doorbell)
    guard made >= 0, Self.set(EPOLL_CTL_ADD, watched, in: made) else {
      let error = systemError(
        "epoll_create1", "sleeper", remedy: "raise the limit of open files (ulimit -n)")
      if made >= 0 { close(made) }
      doorbells.release(doorbell)
      throw error
    }
    self.doorbell = doorbell
    file = PrivateDescriptor(made)
    self.doorbells = doorbells
    self.isAlone = isAlone && doorbells.isShared
  }

  deinit {
    // All epoll instances have one inode. This one knows the doorbell, as no instance of the program's does.
    if Self.set(EPOLL_CTL_MOD, watched, in: descriptor) { file.close() }
    doorbells.release(doorbell)
  }

  /// Also watches another doorbell.
  func add(_ bell: PeerBell) {
    // If epoll has no memory for it, the limit on the length of sleeps takes its place.
    if Self.set(EPOLL_CTL_ADD, bell.file, in: descriptor) { peers[bell.file] = bell }
  }

  /// Stops watching a doorbell that ``add(_:)`` added.
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

  /// Consumes rings, so that they do not end the next sleep, and makes room for further ones.
  func consumeRings() {
    let most = 32
    unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: most) { events in
      // After a failure, or if there are more events, the remaining events stay pending, and the next sleep is
      // short.
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
      // The process's own doorbell ends only if a peer shuts it down.
      if hasEnded, doorbells.isShared { doorbells.breakDown() }
      doorbells.makeRoom(leaving: isAlone ? 0 : 1)
      if isAlone { rung.append(file) }
    } else if let bell = peers[file] {
      // If a process breaks its own doorbell, the watch ignores it from then on.
      guard !hasEnded, BellSocket.makeRoom(in: file, leaving: 0) else { return remove(bell) }
      rung.append(file)
    }
  }

  // MARK: - Needless wake-ups

  /// Forgets the recorded rings, because the wake-up was useful.
  func forgetRings() { rung.removeAll(keepingCapacity: true) }

  /// Records that the wake-up was needless, and ignores doorbells that caused too many.
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

  /// Records useful work for a process that rings the sleeper's own doorbell.
  func noteSomething() {
    if throttle.hasDoubts { throttle.forget() }
  }

  /// Watches doorbells again whose pause is over; epoll reports rings that arrived meanwhile.
  ///
  /// - Returns: The nanoseconds until the next call is due; nil if no doorbell is ignored.
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
