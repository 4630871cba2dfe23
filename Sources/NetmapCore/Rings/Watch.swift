internal import CLinux
internal import Glibc

/// A sleeper's own watch on a doorbell: an epoll instance that reports each ring of it once, so a wake-up is
/// not taken from anybody else who watches the same doorbell, and nobody has to read it.
final class Watch: Sendable {
  let doorbell: UInt32
  /// Readable when the doorbell has rung since ``consumeRings()``.
  let descriptor: CInt
  private let doorbells: DoorbellTable

  /// - Throws: ``NetmapError`` `EMFILE` or `ENFILE` when there are no descriptors left.
  init(_ doorbells: DoorbellTable) throws(NetmapError) {
    let doorbell = try doorbells.acquire()
    let watch = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard watch >= 0, Self.add(doorbells.descriptor(of: doorbell), to: watch) else {
      let error = systemError(
        "epoll_create1", "sleeper", remedy: "raise the limit of open files (ulimit -n)")
      if watch >= 0 { close(watch) }
      doorbells.release(doorbell)
      throw error
    }
    self.doorbell = doorbell
    descriptor = watch
    self.doorbells = doorbells
  }

  deinit {
    close(descriptor)
    doorbells.release(doorbell)
  }

  /// Has rings of another eventfd reported as well. May be called from any thread.
  func add(_ file: CInt) {
    _ = Self.add(file, to: descriptor)
  }

  /// Rings of such an eventfd are reported no more. May be called from any thread.
  func remove(_ file: CInt) {
    _ = epoll_ctl(descriptor, EPOLL_CTL_DEL, file, nil)
  }

  private static func add(_ file: CInt, to watch: CInt) -> Bool {
    var event = unsafe epoll_event()
    unsafe event.events = CLINUX_EPOLLIN | CLINUX_EPOLLET
    return unsafe epoll_ctl(watch, EPOLL_CTL_ADD, file, &event) == 0
  }

  /// Takes note of rings, so that they do not end the next sleep.
  func consumeRings() {
    var event = unsafe epoll_event()
    // If it fails the event stays, and the next sleep is short.
    _ = unsafe epoll_wait(descriptor, &event, 1, 0)
  }
}
