internal import CLinux
internal import Glibc
package import NetmapCore

/// The lock on a daemon's address.
///
/// A process holds the lock while it makes or removes the socket, so that two processes that find
/// no daemon start only one.
package final class DaemonLock: Sendable {
  private let file: OwnedFile

  /// Waits for the lock, and makes the folder if it does not exist.
  ///
  /// - Parameters:
  ///   - address: The daemon's address.
  ///   - seconds: How long to wait while other processes hold the lock.
  /// - Throws: ``NetmapError`` `EPERM` when the folder or the lock belongs to another user,
  ///   `ETIMEDOUT` when other processes held the lock for all that time, or the error of mkdir(2)
  ///   or open(2).
  package init(
    _ address: DaemonAddress, within seconds: Int = DaemonAddress.patience
  ) throws(NetmapError) {
    let path = "\(address.path).lock"
    file = try Self.openFile(path, of: address)
    // The holder is about to start a daemon, which takes a moment, unless the holder has been
    // stopped meanwhile.
    let end = monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    while flock(file.descriptor, CInt(CLINUX_LOCK_EX | CLINUX_LOCK_NB)) != 0 {
      switch errno {
      case EINTR: continue
      case EWOULDBLOCK where monotonicNanoseconds() < end:
        usleep(2_000)
        try Interruption.look("lock")
      case EWOULDBLOCK:
        throw NetmapError(
          .init(rawValue: ETIMEDOUT), "lock", path,
          reason: "another process has held the lock for \(seconds) s",
          remedy: "find that process (fuser \(path)), and continue or end it")
      default: throw systemError("flock", path)
      }
    }
  }

  /// Opens a file beside the socket, and makes it and its folder if they do not exist.
  ///
  /// - Parameters:
  ///   - path: The file's path, in the folder of the address.
  ///   - address: The daemon's address.
  /// - Returns: The file, open for reading and writing.
  /// - Throws: ``NetmapError`` `EPERM` when the folder or the file belongs to another user, or the error of mkdir(2)
  ///   or open(2).
  static func openFile(_ path: String, of address: DaemonAddress) throws(NetmapError) -> OwnedFile {
    let folder = try Self.folder(of: address)
    let file = OwnedFile(
      unsafe openat(
        folder.descriptor, String(path.split(separator: "/").last ?? ""),
        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600))
    guard file.descriptor >= 0 else {
      throw systemError("open", path, remedy: "check the rights on \(address.folder)")
    }
    try checkFile(file, path)
    return file
  }

  /// Opens the folder of the address, and makes it if it does not exist.
  ///
  /// The checks apply to the open folder, so no process can replace the folder between the checks
  /// and its use.
  static func folder(of address: DaemonAddress) throws(NetmapError) -> OwnedFile {
    let path = address.folder
    // All users of the host's socket must be able to reach it in its folder. A user's own folder is
    // private.
    let mode: mode_t = geteuid() == 0 && !address.isPrivate ? 0o755 : 0o700
    let isNew = unsafe mkdir(path, 0o700) == 0
    guard isNew || errno == EEXIST else {
      throw systemError(
        "mkdir", path, remedy: "create it, or set NETMAP_SOCKET to a path in a folder of your own")
    }
    // A path that the user named may contain symbolic links.
    let follows = address.isDefault ? O_NOFOLLOW : 0
    let folder = OwnedFile(unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | follows))
    guard folder.descriptor >= 0 else {
      throw systemError(
        "open", path, remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of your own")
    }
    // mkdir(2) applies the umask; fchmod(2) does not.
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

  /// Checks that an open file is a regular file that belongs to root or this user and has no other
  /// name.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  static func checkFile(_ file: OwnedFile, _ path: String) throws(NetmapError) {
    var status = stat()
    guard unsafe fstat(file.descriptor, &status) == 0 else { throw systemError("fstat", path) }
    let reason: String
    if status.st_mode & S_IFMT != S_IFREG {
      reason = "it is not a regular file"
    } else if status.st_uid != 0 && status.st_uid != geteuid() {
      reason = "it belongs to user \(status.st_uid)"
    } else if status.st_nlink != 1 {
      reason = "the file has another hard link"
    } else {
      return
    }
    throw NetmapError(
      .notPermitted, "use", path, reason: reason,
      remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of your own")
  }
}

/// The log file of a daemon in the background, beside its socket.
package struct DaemonLog {
  let file: OwnedFile

  /// Opens the log.
  ///
  /// ``DaemonProgram/spawn`` empties it when it starts a daemon.
  ///
  /// The folder may be writable for other users, so this changes nothing before it has checked the
  /// file that it opened.
  ///
  /// - Throws: ``NetmapError`` `EPERM` for a file that belongs to another user or has other names;
  ///   or the error of open(2), such as `ELOOP` for a symbolic link.
  package init(path: String) throws(NetmapError) {
    // O_NONBLOCK: if the file is a pipe, open(2) must not wait for a reader.
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    file = OwnedFile(unsafe open(path, flags, 0o600))
    guard file.descriptor >= 0 else {
      throw systemError(
        "open", path, remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of your own")
    }
    try DaemonLock.checkFile(file, path)
  }
}
