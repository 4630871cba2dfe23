internal import CLinux
internal import Glibc

/// An eventfd of the application's, as a loop uses it.
package enum EventDescriptor {
  /// Wakes whoever waits for an eventfd.
  ///
  /// Does not wait: an eventfd whose counter is full wakes its readers anyway.
  static func signal(_ file: CInt) {
    var entry = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
    guard unsafe poll(&entry, 1, 0) == 1, entry.revents & Int16(POLLOUT) != 0 else { return }
    ringEventfd(file)
  }

  /// Makes a private copy of an eventfd.
  ///
  /// - Parameter file: A descriptor of the application's, which may be closed meanwhile.
  /// - Returns: The copy, which the caller owns.
  /// - Throws: ``NetmapError`` `EBADF` for a descriptor that is not open, `EINVAL` for another file, `EMFILE`.
  package static func copy(of file: CInt) throws(NetmapError) -> PrivateDescriptor {
    let copy = fcntl(file, F_DUPFD_CLOEXEC, 3)
    guard copy >= 0 else { throw systemError("fcntl(F_DUPFD_CLOEXEC)", "eventfd \(file)") }
    guard isEventfd(copy) else {
      close(copy)
      throw NetmapError(
        .invalidArgument, "use", "descriptor \(file)", reason: "it is not an eventfd",
        remedy: "make it with eventfd(2)")
    }
    return PrivateDescriptor(copy)
  }

  /// Whether a descriptor is an eventfd's; true if /proc is not there to tell.
  private static func isEventfd(_ file: CInt) -> Bool {
    let expected = Array("anon_inode:[eventfd]".utf8)
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { name in
      guard let start = name.baseAddress else { return true }
      let count = unsafe readlink("/proc/self/fd/\(file)", start, name.count)
      guard count >= 0 else { return true }
      guard count == expected.count else { return false }
      return expected.indices.allSatisfy { unsafe UInt8(bitPattern: name[$0]) == expected[$0] }
    }
  }
}

/// The eventfds by which an application wakes a loop.
///
/// One thread at a time uses it.
package final class LoopKicks {
  /// Readable when one of the eventfds has been written to since ``consume()``.
  package var descriptor: CInt { watch.number }
  private let watch: PrivateDescriptor
  private let events: [PrivateDescriptor]

  /// - Parameter files: Eventfds of the application's, which the object copies.
  /// - Throws: ``NetmapError`` as ``EventDescriptor/copy(of:)``; `ENOSPC` beyond the user's limit of watches.
  package init(_ files: [CInt]) throws(NetmapError) {
    let made = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard made >= 0 else {
      throw systemError(
        "epoll_create1", "sync loop", remedy: "raise the limit of open files (ulimit -n)")
    }
    watch = PrivateDescriptor(made)
    var events: [PrivateDescriptor] = []
    do throws(NetmapError) {
      for file in files {
        let copy = try EventDescriptor.copy(of: file)
        events.append(copy)
        var event = unsafe epoll_event()
        // The loop reads no eventfd: another process may read it as well, and then the loop would wait.
        unsafe event.events = CLINUX_EPOLLIN | CLINUX_EPOLLET
        guard unsafe epoll_ctl(watch.number, EPOLL_CTL_ADD, copy.number, &event) == 0 else {
          throw systemError("epoll_ctl", "eventfd \(file)")
        }
      }
    } catch {
      for event in events { event.close() }
      watch.close()
      throw error
    }
    self.events = events
  }

  deinit {
    for event in events { event.close() }
    watch.close()
  }

  /// Takes note of all kicks, so that they do not end the next sleep.
  package func consume() {
    unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { events in
      // Events that are left make the next sleep short.
      _ = unsafe epoll_wait(descriptor, events.baseAddress, CInt(events.count), 0)
    }
  }
}
