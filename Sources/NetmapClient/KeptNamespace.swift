internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// A descriptor of this process's network namespace, for when it has no path to it any more.
///
/// A request names the namespace in which the daemon looks up an interface by its descriptor. After chroot(2), or under
/// a filter that allows no open(2), a process cannot open it.
package enum KeptNamespace {
  private struct Kept {
    var file: OwnedFile
    /// The kernel's number of the namespace, which it does not use again.
    let cookie: UInt64
  }

  private static let kept = Mutex<Kept?>(nil)

  /// Opens the calling thread's namespace and keeps it, unless it is kept already.
  ///
  /// Does nothing where that is not possible.
  package static func remember() {
    guard let cookie = currentCookie() else { return }
    kept.withLock { kept in
      guard kept?.cookie != cookie || kept?.file.isIntact != true else { return }
      let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
      guard file >= 0 else { return }
      let owned = OwnedFile(private: file)
      PrivateDescriptors.keepInChildren(owned.descriptor)
      kept = Kept(file: owned, cookie: cookie)
    }
  }

  static let path = "/proc/thread-self/ns/net"

  /// A copy of the kept descriptor if the calling thread is still in that namespace, else nil.
  static func current() -> OwnedFile? {
    kept.withLock { kept in
      guard let kept, kept.file.isIntact, kept.cookie == currentCookie(),
        let copy = try? kept.file.duplicate()
      else { return nil }
      return OwnedFile(copy)
    }
  }

  /// Moves the descriptor if it has this number.
  package static func vacate(_ number: CInt) {
    kept.withLock { kept in
      guard let file = kept?.file, file.descriptor == number, file.isIntact,
        let copy = try? file.duplicate()
      else { return }
      let moved = OwnedFile(private: copy)
      PrivateDescriptors.keepInChildren(moved.descriptor)
      kept?.file = moved
    }
  }

  /// The number of the calling thread's namespace, to which a new socket belongs; nil before Linux 5.14.
  private static func currentCookie() -> UInt64? {
    var files: [CInt] = [-1, -1]
    let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &files) == 0 else { return nil }
    defer { for file in files { close(file) } }
    var cookie: UInt64 = 0
    var size = socklen_t(MemoryLayout<UInt64>.size)
    guard
      unsafe getsockopt(files[0], SOL_SOCKET, CInt(CLINUX_SO_NETNS_COOKIE), &cookie, &size) == 0
    else { return nil }
    return cookie
  }
}
