internal import CLinux
internal import Glibc
internal import NetmapCore

/// An epoll(7) instance, with a key for each watched descriptor.
struct EventQueue: ~Copyable {
  /// What happened to one descriptor.
  struct Event {
    let key: UInt64
    /// The descriptor is readable.
    let isReadable: Bool
    /// The peer has gone.
    let isOver: Bool
  }

  /// Readable while the queue has events.
  let descriptor: CInt

  init() throws(NetmapError) {
    descriptor = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard descriptor >= 0 else { throw systemError("epoll_create1", "netmapd") }
  }

  deinit { close(descriptor) }

  /// Watches a descriptor until the caller removes it.
  ///
  /// Closing the descriptor is not enough where another process has a copy.
  func add(_ file: CInt, key: UInt64) throws(NetmapError) {
    try control(EPOLL_CTL_ADD, file, key, CLINUX_EPOLLRDHUP | CLINUX_EPOLLIN)
  }

  /// Watches a socket for room to write, edge-triggered.
  ///
  /// Reports an event now if there is room, and later whenever there is room after the peer has
  /// received something.
  func addForRoom(_ file: CInt, key: UInt64) throws(NetmapError) {
    try control(EPOLL_CTL_ADD, file, key, CLINUX_EPOLLOUT | CLINUX_EPOLLET)
  }

  /// Turns reports of readability on or off.
  ///
  /// The end of the peer is always reported.
  func watch(_ file: CInt, key: UInt64, reading: Bool) {
    // Cannot fail, as the descriptor was added before.
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

  /// All events up to now, without waiting.
  ///
  /// - Parameter capacity: The most events to report. It should be the number of watched
  ///   descriptors: with less, one that is always ready could hide another.
  /// - Returns: At most one event for each descriptor.
  func events(capacity: Int) -> [Event] {
    let found = unsafe [epoll_event](unsafeUninitializedCapacity: max(1, capacity)) {
      buffer, count in
      // No error other than EINTR is possible here. In both cases there are no events.
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
