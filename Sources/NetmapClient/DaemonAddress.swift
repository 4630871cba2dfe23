internal import CLinux
internal import Glibc
package import NetmapCore

/// Where a daemon listens.
package struct DaemonAddress: Hashable, Sendable {
  /// A path in the file system, shorter than the 108 bytes of `sun_path`.
  package let path: String

  /// The host's daemon, which root runs. The folder is root's alone to write to.
  package static let host = DaemonAddress(unchecked: "/run/netmap/netmapd.sock")

  private init(unchecked path: String) {
    self.path = path
  }

  /// - Throws: ``NetmapError`` `EINVAL` for a path that is too long for a socket.
  package init(path: String) throws(NetmapError) {
    guard !path.isEmpty, path.utf8.count < 108 else {
      throw NetmapError(
        .invalidArgument, "connect", "'\(path)'",
        reason: "the path of a socket has 1 to 107 bytes", remedy: "use a shorter one")
    }
    self.path = path
  }

  /// The folder the socket is in.
  package var folder: String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    let folder = parts.joined(separator: "/")
    return folder.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : folder
  }

  /// The places to look for a daemon, in this order: `$NETMAP_SOCKET` alone when it is set; else the
  /// host's; else the user's own, in `$XDG_RUNTIME_DIR` or, where that is not set or is another user's
  /// (su(1) passes it on), below `/tmp`.
  ///
  /// Root without the right to configure interfaces counts as a user here: a daemon that it started for the
  /// host could open no interface for those who come after it.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when `$NETMAP_SOCKET` is too long.
  package static func candidates() throws(NetmapError) -> [DaemonAddress] {
    if let forced = environment("NETMAP_SOCKET") { return [try DaemonAddress(path: forced)] }
    return geteuid() != 0 || !mayConfigureInterfaces ? [host, try users()] : [host]
  }

  /// Where the user's own daemon listens.
  private static func users() throws(NetmapError) -> DaemonAddress {
    let folder = runtimeFolder.map { "\($0)/netmap" } ?? "/tmp/netmap-\(geteuid())"
    return try DaemonAddress(path: "\(folder)/netmapd.sock")
  }

  /// `$XDG_RUNTIME_DIR`, if it is a folder of this user's that nobody else may write to.
  private static var runtimeFolder: String? {
    guard let path = environment("XDG_RUNTIME_DIR"), path.hasPrefix("/") else { return nil }
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_uid == geteuid(),
      mistrust(of: status, strictly: true) == nil
    else { return nil }
    return path
  }

  /// Whether it is the user's own usual one, whose folder is nobody else's business.
  var isPrivate: Bool { self == (try? Self.users()) }

  /// Whether programs look here without being told to.
  var isDefault: Bool { self == .host || isPrivate }

  /// Whether CAP_NET_ADMIN is in force (capabilities(7)).
  private static var mayConfigureInterfaces: Bool {
    // _LINUX_CAPABILITY_VERSION_3, this thread; then effective, permitted, inheritable, twice.
    var header: [2 of UInt32] = [0x2008_0522, 0]
    var sets: [6 of UInt32] = [0, 0, 0, 0, 0, 0]
    guard unsafe capget(&header, &sets) == 0 else { return true }
    return sets[0] & 1 << 12 != 0
  }

  /// The one that this user's processes start a daemon at.
  package static func own() throws(NetmapError) -> DaemonAddress {
    let all = try candidates()
    return all[all.count - 1]
  }

  /// Seconds that a daemon has for each answer: one that is stopped must not hold up its clients
  /// for ever.
  package static let patience = 30

  static func noDescriptor() -> NetmapError {
    NetmapError(
      .tooManyFiles, "ask", "netmapd", reason: "it has no descriptor left",
      remedy: "close some ports, or raise netmapd's limit of open files (LimitNOFILE=)")
  }

  static func noAnswer(_ operation: String) -> NetmapError {
    NetmapError(
      .init(rawValue: ETIMEDOUT), operation, "netmapd",
      reason: "it has not answered in \(patience) s",
      remedy: "see whether it is stopped; let it go on (kill -CONT), or end it (kill -KILL)")
  }

  /// A socket that is connected to the daemon here, which is root's or this user's own.
  ///
  /// - Returns: Nil when no daemon listens here.
  /// - Throws: ``NetmapError`` `EACCES` when there is one for others, `EPERM` when there is one of another
  ///   user's, or what connect(2) left.
  package func connect() throws(NetmapError) -> MessageSocket? {
    let file = try Self.socket()
    let connection = MessageSocket(owning: file)
    // For connect(2) as well, which waits while a stopped daemon's queue is full.
    var limit = timeval(tv_sec: Self.patience, tv_usec: 0)
    _ = unsafe setsockopt(
      file, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    while unsafe withSocketAddress({ unsafe Glibc.connect(file, $0, $1) }) != 0 {
      switch errno {
      case EINTR: continue
      case EAGAIN: throw Self.noAnswer("connect")
      case ENOENT, ECONNREFUSED, ENOTDIR: return nil
      case EACCES, EPERM: throw noAccess()
      default: throw systemError("connect", path)
      }
    }
    try verify(connection)
    return connection
  }

  /// Others may use the daemon here, and this user may not.
  private func noAccess() -> NetmapError {
    guard self == .host, let own = try? Self.users() else {
      return NetmapError(
        .init(rawValue: EACCES), "connect", path, reason: "this user may not open that socket",
        remedy:
          "join the group that owns it, or set NETMAP_SOCKET to a path in a folder of your own")
    }
    return NetmapError(
      .init(rawValue: EACCES), "connect", path,
      reason: "this user may not use the netmapd of this host",
      remedy:
        "have one of your own: NETMAP_SOCKET=\(own.path) for every program that is to meet; or join"
        + " the group that owns \(path) (usually netmap)")
  }

  /// Begins to listen here. A socket that nobody listens on any more makes room; the caller holds the
  /// lock that keeps others from doing the same (``DaemonLock``).
  ///
  /// - Returns: The listening socket, the caller's to close.
  /// - Throws: ``NetmapError`` `EADDRINUSE` when a daemon listens here, or what bind(2) left.
  package func listen() throws(NetmapError) -> CInt {
    if try connect() != nil {
      throw NetmapError(
        .init(rawValue: EADDRINUSE), "listen", path, reason: "a netmapd listens there already",
        remedy: "stop it, or use another --socket")
    }
    let file = try Self.socket()
    // Here already: what is said before the daemon accepts has its sender with it, too.
    guard clinux_pass_credentials(file) == 0 else {
      let error = systemError("setsockopt(SO_PASSCRED)", path)
      close(file)
      throw error
    }
    // Only a socket: whatever else has that name is somebody's file.
    var status = stat()
    if unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK {
      unsafe unlink(path)
    }
    // The socket's own mode is what bind(2) gives its name, less the umask, which other threads share.
    guard fchmod(file, 0o600) == 0, unsafe withSocketAddress({ unsafe bind(file, $0, $1) }) == 0,
      Glibc.listen(file, 128) == 0
    else {
      let error = systemError(
        "bind", path,
        remedy: "check that the folder exists and is writable, or use another --socket")
      close(file)
      throw error
    }
    return file
  }

  private static func socket() throws(NetmapError) -> CInt {
    let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    let file = Glibc.socket(AF_UNIX, kind, 0)
    guard file >= 0 else {
      throw systemError("socket", "netmapd", remedy: "raise the limit of open files (ulimit -n)")
    }
    return file
  }

  private func withSocketAddress<R>(
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
  ) -> R {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    return unsafe withUnsafePointer(to: address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }
}

/// An environment variable, nil when it is not set or empty, or when the program has more rights than who
/// started it (a set-user-ID program, for one).
func environment(_ name: String) -> String? {
  guard let value = unsafe secure_getenv(name), unsafe value.pointee != 0 else { return nil }
  return unsafe String(cString: value)
}
