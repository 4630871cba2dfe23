internal import CLinux
internal import Glibc
package import NetmapCore

/// The path of the Unix socket on which a daemon listens.
package struct DaemonAddress: Hashable, Sendable {
  /// A path in the file system, shorter than the 108 bytes of `sun_path`.
  package let path: String

  /// The host's daemon, which root runs.
  ///
  /// Only root may write to the folder of its socket.
  package static let host = DaemonAddress(unchecked: "/run/netmap/netmapd.sock")

  private init(unchecked path: String) {
    self.path = path
  }

  /// - Throws: ``NetmapError`` `EINVAL` for a path that is empty or too long for a socket.
  package init(path: String) throws(NetmapError) {
    guard !path.isEmpty, path.utf8.count < 108 else {
      throw NetmapError(
        .invalidArgument, "connect", "'\(path)'",
        reason: "the path of a socket has 1 to 107 bytes", remedy: "use another path")
    }
    self.path = path
  }

  /// The folder that contains the socket.
  package var folder: String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    let folder = parts.joined(separator: "/")
    return folder.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : folder
  }

  /// The addresses at which a client looks for a daemon, in order of preference.
  ///
  /// If `$NETMAP_SOCKET` is set, it is the only one. Otherwise the host's daemon comes first, then
  /// the user's own. The user's own daemon listens in `$XDG_RUNTIME_DIR`, or below `/tmp` where
  /// that variable is not set or names another user's folder (su(1) passes it on).
  ///
  /// For root, only the host's address counts. Root without the right to configure interfaces is
  /// treated as an ordinary user: a host daemon that such a process started could not open
  /// interfaces for later clients.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when `$NETMAP_SOCKET` is too long.
  package static func candidates() throws(NetmapError) -> [DaemonAddress] {
    if let forced = environment("NETMAP_SOCKET") { return [try DaemonAddress(path: forced)] }
    return geteuid() != 0 || !mayConfigureInterfaces ? [host, try users()] : [host]
  }

  /// The address of this user's own daemon.
  private static func users() throws(NetmapError) -> DaemonAddress {
    let folder = runtimeFolder.map { "\($0)/netmap" } ?? "/tmp/netmap-\(geteuid())"
    return try DaemonAddress(path: "\(folder)/netmapd.sock")
  }

  /// `$XDG_RUNTIME_DIR`, if this user owns that folder and no other user may write to it; otherwise
  /// nil.
  private static var runtimeFolder: String? {
    guard let path = environment("XDG_RUNTIME_DIR"), path.hasPrefix("/") else { return nil }
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_uid == geteuid(),
      mistrust(of: status, strictly: true) == nil
    else { return nil }
    return path
  }

  /// Whether this is the default address of the user's own daemon.
  ///
  /// Other users need no access to its folder.
  var isPrivate: Bool { self == (try? Self.users()) }

  /// Whether this is a default address: one that programs use when `$NETMAP_SOCKET` is not set.
  var isDefault: Bool { self == .host || isPrivate }

  /// Whether the calling thread has CAP_NET_ADMIN in its effective set (capabilities(7)); true
  /// where capget(2) fails.
  private static var mayConfigureInterfaces: Bool {
    // The header holds _LINUX_CAPABILITY_VERSION_3 and 0 for the calling thread. The sets are
    // effective, permitted and inheritable: first the low words of all three, then the high words.
    var header: [2 of UInt32] = [0x2008_0522, 0]
    var sets: [6 of UInt32] = [0, 0, 0, 0, 0, 0]
    guard unsafe capget(&header, &sets) == 0 else { return true }
    return sets[0] & 1 << 12 != 0
  }

  /// The address at which this user's processes start a daemon.
  package static func own() throws(NetmapError) -> DaemonAddress {
    let all = try candidates()
    return all[all.count - 1]
  }

  /// How long a client waits for an answer that may take long, seconds: while an interface is opened, or another
  /// process's. A stopped daemon must not block its clients forever.
  package static let patience = 30
  /// How long a client waits for all other answers, seconds.
  package static let shortPatience = 10

  static func noDescriptor() -> NetmapError {
    NetmapError(
      .tooManyFiles, "ask", "netmapd", reason: "netmapd has no descriptor left",
      remedy: "close some ports, or raise netmapd's limit of open files (LimitNOFILE=)")
  }

  static func noAnswer(_ operation: String, within seconds: Int) -> NetmapError {
    NetmapError(
      .init(rawValue: ETIMEDOUT), operation, "netmapd",
      reason: "it did not answer within \(seconds) s",
      remedy: "if a signal has stopped it, continue it (kill -CONT), or end it (kill -KILL)")
  }

  /// What a connection is for.
  package enum Purpose: Sendable {
    /// Messages of one process.
    case mailbox
    /// One open of a port: the socket is a token from the start, and recognizable as one (``TokenName``).
    case token
  }

  static func nobodyListens(at address: DaemonAddress) -> NetmapError {
    NetmapError(
      .init(rawValue: ECONNREFUSED), "connect", address.path,
      reason: "no netmapd listens there", remedy: "start one: netmapd --socket \(address.path)")
  }

  /// Connects to the daemon at this address, which must be root's or this user's own.
  ///
  /// - Parameter purpose: What the connection is for.
  /// - Returns: The socket; nil when no daemon listens here.
  /// - Throws: ``NetmapError`` `EACCES` when this user may not open the socket, `EPERM` when the
  ///   daemon belongs to another user, `ETIMEDOUT` when the daemon does not accept in time, or the
  ///   error of connect(2).
  package func connect(for purpose: Purpose = .mailbox) throws(NetmapError) -> MessageSocket? {
    let made = try Self.socket()
    let connection: MessageSocket
    switch purpose {
    case .mailbox: connection = MessageSocket(private: made)
    case .token:
      connection = MessageSocket(owning: made)
      try TokenName.give(to: made)
    }
    let file = connection.descriptor
    // connect(2) would wait while the queue of a stopped daemon is full.
    _ = fcntl(file, F_SETFL, O_NONBLOCK)
    defer { _ = fcntl(file, F_SETFL, 0) }
    let end = monotonicNanoseconds() + UInt64(Self.shortPatience) * 1_000_000_000
    while unsafe withSocketAddress({ unsafe Glibc.connect(file, $0, $1) }) != 0 {
      switch errno {
      case EINTR: continue
      case EAGAIN where monotonicNanoseconds() < end:
        usleep(10_000)
        try Interruption.look("connect to")
      case EAGAIN: throw Self.noAnswer("connect", within: Self.shortPatience)
      case ENOENT, ECONNREFUSED, ENOTDIR: return nil
      case EACCES, EPERM: throw noAccess()
      default: throw systemError("connect", path)
      }
    }
    try verify(connection)
    if case .token = purpose { TrustedTokens.remember(file) }
    return connection
  }

  /// Makes a connection of a daemon to itself that a client can use as a token.
  ///
  /// Does not wait.
  ///
  /// - Parameter name: The token's name.
  /// - Returns: The socket, which the caller closes.
  /// - Throws: ``NetmapError`` with the `errno` of connect(2).
  package func connectToken(named name: TokenName.Digits) throws(NetmapError) -> OwnedFile {
    let file = OwnedFile(try Self.socket())
    try TokenName.give(name, to: file.descriptor)
    _ = fcntl(file.descriptor, F_SETFL, O_NONBLOCK)
    guard unsafe withSocketAddress({ unsafe Glibc.connect(file.descriptor, $0, $1) }) == 0 else {
      throw systemError("connect", path)
    }
    _ = fcntl(file.descriptor, F_SETFL, 0)
    return file
  }

  /// The error for a daemon whose socket this user may not open.
  private func noAccess() -> NetmapError {
    guard self == .host, let own = try? Self.users() else {
      return NetmapError(
        .init(rawValue: EACCES), "connect", path, reason: "this user may not open that socket",
        remedy:
          "join the group that owns the socket, or set NETMAP_SOCKET to a path in a folder of your own"
      )
    }
    return NetmapError(
      .init(rawValue: EACCES), "connect", path,
      reason: "this user may not use the netmapd of this host",
      remedy:
        "use a netmapd of your own: NETMAP_SOCKET=\(own.path) for all programs that share ports; or join"
        + " the group that owns \(path) (usually netmap)")
  }

  /// Listens at this address.
  ///
  /// Replaces a socket on which no process listens any more. The caller holds the lock
  /// (``DaemonLock``) that keeps other processes from doing the same.
  ///
  /// - Returns: The listening socket, which the caller closes.
  /// - Throws: ``NetmapError`` `EADDRINUSE` when a daemon listens here, or the error of bind(2).
  package func listen() throws(NetmapError) -> CInt {
    if try connect() != nil {
      throw NetmapError(
        .init(rawValue: EADDRINUSE), "listen", path, reason: "another netmapd listens there",
        remedy: "stop it, or use another --socket")
    }
    let file = try Self.socket()
    // Set before listen(2): messages that arrive before the daemon accepts their connection then
    // carry the sender's credentials as well.
    guard clinux_pass_credentials(file) == 0 else {
      let error = systemError("setsockopt(SO_PASSCRED)", path)
      close(file)
      throw error
    }
    // Remove only a socket. Any other file of this name was not made by netmapd.
    var status = stat()
    if unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK {
      unsafe unlink(path)
    }
    // bind(2) gives the name the socket's mode, less the umask. The umask itself must not change:
    // other threads share it.
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

/// The value of an environment variable.
///
/// Nil when the variable is not set or empty, and in a program that has more rights than the
/// process that started it, such as a set-user-ID program.
package func environment(_ name: String) -> String? {
  guard let value = unsafe secure_getenv(name), unsafe value.pointee != 0 else { return nil }
  return unsafe String(cString: value)
}
