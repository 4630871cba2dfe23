internal import CLinux
internal import Glibc
package import NetmapCore

/// The lock on a daemon's address: whoever makes or removes the socket holds it, so that two processes
/// that find no daemon start one and not two.
package final class DaemonLock: Sendable {
  private let file: OwnedFile

  /// Waits for the lock, and makes the folder if it is not there.
  ///
  /// - Parameters:
  ///   - address: The daemon's.
  ///   - seconds: How long to wait for others who have it.
  /// - Throws: ``NetmapError`` `EPERM` when the folder or the lock is another user's, `ETIMEDOUT` when the
  ///   lock was not to be had, or what mkdir(2) or open(2) left.
  package init(
    _ address: DaemonAddress, within seconds: Int = DaemonAddress.patience
  ) throws(NetmapError) {
    let path = "\(address.path).lock"
    let folder = try Self.folder(of: address)
    file = OwnedFile(
      unsafe openat(
        folder.descriptor, String(path.split(separator: "/").last ?? ""),
        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600))
    guard file.descriptor >= 0 else {
      throw systemError("open", path, remedy: "check the rights on \(address.folder)")
    }
    try Self.checkFile(file, path)
    // Whoever has it is about to start a daemon, which takes a moment; unless it was stopped meanwhile.
    let end = monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    while flock(file.descriptor, CInt(CLINUX_LOCK_EX | CLINUX_LOCK_NB)) != 0 {
      switch errno {
      case EINTR: continue
      case EWOULDBLOCK where monotonicNanoseconds() < end: usleep(2_000)
      case EWOULDBLOCK:
        throw NetmapError(
          .init(rawValue: ETIMEDOUT), "lock", path,
          reason: "another process has had it for \(seconds) s",
          remedy: "see who has it (fuser \(path)), and let it go on or end it")
      default: throw systemError("flock", path)
      }
    }
  }

  /// The folder of the address, which is made if it is not there.
  ///
  /// What is checked is what is opened, so nobody can put something else there in between.
  private static func folder(of address: DaemonAddress) throws(NetmapError) -> OwnedFile {
    let path = address.folder
    // The host's folder is for everybody who may use the socket in it; a user's own is private.
    let mode: mode_t = geteuid() == 0 && !address.isPrivate ? 0o755 : 0o700
    let isNew = unsafe mkdir(path, 0o700) == 0
    guard isNew || errno == EEXIST else {
      throw systemError(
        "mkdir", path, remedy: "create it, or set NETMAP_SOCKET to a path in a folder of yours")
    }
    // A path that the user named may lead through links.
    let follows = address.isDefault ? O_NOFOLLOW : 0
    let folder = OwnedFile(unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | follows))
    guard folder.descriptor >= 0 else {
      throw systemError(
        "open", path, remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of yours")
    }
    // Whatever the umask says.
    if isNew { _ = fchmod(folder.descriptor, mode) }
    var status = stat()
    guard unsafe fstat(folder.descriptor, &status) == 0 else { throw systemError("fstat", path) }
    if let reason = DaemonAddress.mistrust(of: status, strictly: address.isDefault) {
      throw NetmapError(
        .notPermitted, "use", path, reason: reason,
        remedy: "remove it, or set XDG_RUNTIME_DIR or NETMAP_SOCKET")
    }
    return folder
  }

  /// Makes sure that an open file is an ordinary one of root's or this user's, which has no other name.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  fileprivate static func checkFile(_ file: OwnedFile, _ path: String) throws(NetmapError) {
    var status = stat()
    guard unsafe fstat(file.descriptor, &status) == 0 else { throw systemError("fstat", path) }
    let reason: String
    if status.st_mode & S_IFMT != S_IFREG {
      reason = "it is no ordinary file"
    } else if status.st_uid != 0 && status.st_uid != geteuid() {
      reason = "it belongs to user \(status.st_uid)"
    } else if status.st_nlink != 1 {
      reason = "the file has another name as well"
    } else {
      return
    }
    throw NetmapError(
      .notPermitted, "use", path, reason: reason,
      remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of yours")
  }
}

/// The file that a daemon in the background logs to, beside its socket.
package struct DaemonLog {
  let file: OwnedFile

  /// Opens it; it is emptied when a daemon is started (``DaemonProgram/spawn``).
  ///
  /// It may lie where others can write: nothing is changed before it is clear what was opened.
  ///
  /// - Throws: ``NetmapError`` `EPERM` for a file of another user's, or with other names; or what open(2)
  ///   left, as `ELOOP` for a link.
  package init(path: String) throws(NetmapError) {
    // Not to wait for whoever reads, where it is a pipe.
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    file = OwnedFile(unsafe open(path, flags, 0o600))
    guard file.descriptor >= 0 else {
      throw systemError(
        "open", path, remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of yours")
    }
    try DaemonLock.checkFile(file, path)
  }
}
