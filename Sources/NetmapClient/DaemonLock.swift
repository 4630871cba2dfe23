internal import CLinux
internal import Glibc
package import NetmapCore

/// The lock on a daemon's address: whoever makes or removes the socket holds it, so that two processes
/// that find no daemon start one and not two.
package final class DaemonLock: Sendable {
  private let file: CInt

  /// Waits for the lock, and makes the folder if it is not there.
  ///
  /// - Parameters:
  ///   - address: The daemon's.
  ///   - seconds: How long to wait for others who have it.
  /// - Throws: ``NetmapError`` when the folder cannot be used, or is another user's; `ETIMEDOUT` when the
  ///   lock was not to be had.
  package init(
    _ address: DaemonAddress, within seconds: Int = DaemonAddress.patience
  ) throws(NetmapError) {
    let folder = address.folder
    // The host's folder is for everybody who may use the socket in it; a user's own is private.
    let mode: mode_t = geteuid() == 0 ? 0o755 : 0o700
    if unsafe mkdir(folder, mode) != 0 && errno != EEXIST {
      throw systemError(
        "mkdir", folder, remedy: "create it, or set NETMAP_SOCKET to a path in a folder of yours")
    }
    var status = stat()
    guard unsafe stat(folder, &status) == 0 else { throw systemError("stat", folder) }
    guard status.st_uid == geteuid() || status.st_uid == 0 else {
      throw NetmapError(
        .notPermitted, "use", folder, reason: "it belongs to another user",
        remedy: "remove it, or set XDG_RUNTIME_DIR or NETMAP_SOCKET")
    }
    let path = "\(address.path).lock"
    file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else {
      throw systemError("open", path, remedy: "check the rights on \(folder)")
    }
    // Whoever has it is about to start a daemon, which takes a moment; unless it was stopped meanwhile.
    let end = monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    while flock(file, CInt(CLINUX_LOCK_EX | CLINUX_LOCK_NB)) != 0 {
      switch errno {
      case EINTR: continue
      case EWOULDBLOCK where monotonicNanoseconds() < end: usleep(2_000)
      case EWOULDBLOCK:
        close(file)
        throw NetmapError(
          .init(rawValue: ETIMEDOUT), "lock", path,
          reason: "another process has had it for \(seconds) s",
          remedy: "see who has it (fuser \(path)), and let it go on or end it")
      default:
        let error = systemError("flock", path)
        close(file)
        throw error
      }
    }
  }

  deinit { close(file) }
}
