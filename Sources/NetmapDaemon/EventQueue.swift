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
    /// There is room to write, after there was none.
    let isWritable: Bool
    /// The peer has gone.
    let isOver: Bool
  }

  private let file: CInt

  init() throws(NetmapError) {
    file = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard file >= 0 else { throw systemError("epoll_create1", "netmapd") }
  }

  deinit { close(file) }

  /// Watches a descriptor until it is removed or closed.
  func add(_ descriptor: CInt, key: UInt64) throws(NetmapError) {
    try control(EPOLL_CTL_ADD, descriptor, key, writing: false)
  }

  /// Whether to report room to write as well.
  func watch(_ descriptor: CInt, key: UInt64, writing: Bool) {
    // It was added, so this cannot fail.
    try? control(EPOLL_CTL_MOD, descriptor, key, writing: writing)
  }

  func remove(_ descriptor: CInt) {
    _ = epoll_ctl(file, EPOLL_CTL_DEL, descriptor, nil)
  }

  private func control(
    _ operation: CInt, _ descriptor: CInt, _ key: UInt64, writing: Bool
  ) throws(NetmapError) {
    var event = unsafe epoll_event()
    unsafe event.events = CLINUX_EPOLLIN | CLINUX_EPOLLRDHUP | (writing ? CLINUX_EPOLLOUT : 0)
    unsafe event.data.u64 = key
    guard unsafe epoll_ctl(file, operation, descriptor, &event) == 0 else {
      throw systemError("epoll_ctl", "netmapd")
    }
  }

  /// Everything that has happened by now.
  ///
  /// - Parameters:
  ///   - capacity: The most events to report: as many as there are descriptors, or one that is always
  ///     ready could hide another.
  ///   - timeout: Milliseconds to wait for the first one; -1 for ever, 0 not at all.
  /// - Returns: At most one event for each descriptor.
  func events(capacity: Int, timeout: CInt) -> [Event] {
    let found = unsafe [epoll_event](unsafeUninitializedCapacity: capacity) { buffer, count in
      // An error other than EINTR is not possible here; no event is the answer to both.
      count = unsafe max(0, Int(epoll_wait(file, buffer.baseAddress, CInt(capacity), timeout)))
    }
    return unsafe found.map { event in
      let events = unsafe event.events
      return unsafe Event(
        key: event.data.u64, isReadable: events & CLINUX_EPOLLIN != 0,
        isWritable: events & CLINUX_EPOLLOUT != 0,
        isOver: events & (CLINUX_EPOLLRDHUP | CLINUX_EPOLLHUP | CLINUX_EPOLLERR) != 0)
    }
  }
}
