internal import CLinux
internal import Glibc
internal import NetmapCore

/// epoll(7), with a key for each descriptor watched.
struct EventQueue: ~Copyable {
  /// What happened to one descriptor.
  struct Event {
    let key: UInt64
    /// There is something to read.
    let isReadable: Bool
    /// The peer has gone.
    let isOver: Bool
  }

  /// Readable when there are events.
  let descriptor: CInt

  init() throws(NetmapError) {
    descriptor = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard descriptor >= 0 else { throw systemError("epoll_create1", "netmapd") }
  }

  deinit { close(descriptor) }

  /// Watches a descriptor until it is removed. Closing it is not enough where somebody else has a copy.
  func add(_ file: CInt, key: UInt64) throws(NetmapError) {
    try control(EPOLL_CTL_ADD, file, key, CLINUX_EPOLLRDHUP | CLINUX_EPOLLIN)
  }

  /// Watches a socket for room to write: reports it now if there is some, and each time that the peer has received
  /// something and there is some then.
  func addForRoom(_ file: CInt, key: UInt64) throws(NetmapError) {
    try control(EPOLL_CTL_ADD, file, key, CLINUX_EPOLLOUT | CLINUX_EPOLLET)
  }

  /// Whether to report of a descriptor, beside its peer's end, that there is something to read.
  func watch(_ file: CInt, key: UInt64, reading: Bool) {
    // It was added, so this cannot fail.
    try? control(EPOLL_CTL_MOD, file, key, CLINUX_EPOLLRDHUP | (reading ? CLINUX_EPOLLIN : 0))
  }

  func remove(_ file: CInt) {
    _ = epoll_ctl(descriptor, EPOLL_CTL_DEL, file, nil)
  }

  private func control(
    _ operation: CInt, _ file: CInt, _ key: UInt64, _ events: UInt32
  ) throws(NetmapError) {
    var event = unsafe epoll_event()
    unsafe event.events = events
    unsafe event.data.u64 = key
    guard unsafe epoll_ctl(descriptor, operation, file, &event) == 0 else {
      throw systemError("epoll_ctl", "netmapd")
    }
  }

  /// Everything that has happened by now. Does not wait.
  ///
  /// - Parameter capacity: The most events to report: as many as there are descriptors, or one that is always
  ///   ready could hide another.
  /// - Returns: At most one event for each descriptor.
  func events(capacity: Int) -> [Event] {
    let found = unsafe [epoll_event](unsafeUninitializedCapacity: max(1, capacity)) {
      buffer, count in
      // An error other than EINTR is not possible here; no event is the answer to both.
      count = unsafe max(
        0, Int(epoll_wait(descriptor, buffer.baseAddress, CInt(clamping: buffer.count), 0)))
    }
    return unsafe found.map { event in
      let events = unsafe event.events
      return unsafe Event(
        key: event.data.u64, isReadable: events & CLINUX_EPOLLIN != 0,
        isOver: events & (CLINUX_EPOLLRDHUP | CLINUX_EPOLLHUP | CLINUX_EPOLLERR) != 0)
    }
  }
}
