internal import CLinux
internal import Glibc
internal import NetmapCore

/// The users whose daemons this process trusts.
///
/// A daemon hands out memory that its clients map and work with, so it must be root's or the
/// client's own. `SO_PEERCRED` of a connected socket gives the credentials of the process that
/// called listen(2), as the kernel saw them. A name in the file system proves nothing.
package struct DaemonTrust {
  /// The effective user of this process.
  let user: UInt32
  /// The number that the kernel shows for users who are not mapped in this user namespace.
  let overflow: UInt32
  /// Whether root of the parent user namespace is mapped here.
  ///
  /// The host's root is not mapped in most containers that an ordinary user starts.
  let mapsRoot: Bool
  /// Whether all users are mapped here.
  ///
  /// Only then is ``overflow`` an ordinary user.
  let isComplete: Bool

  /// - Parameters:
  ///   - user: The effective user of this process.
  ///   - overflow: The text of `/proc/sys/kernel/overflowuid`.
  ///   - map: The text of `/proc/self/uid_map` (user_namespaces(7)), which is empty as long as no
  ///     user is mapped. Nil where it cannot be read: the process then counts as one of the initial
  ///     user namespace, which needs no exception.
  package init(user: UInt32, overflow: String?, map: String?) {
    self.user = user
    self.overflow = (overflow?.filter(\.isNumber)).flatMap { UInt32($0) } ?? 65534
    guard let map else {
      (mapsRoot, isComplete) = (true, true)
      return
    }
    let ranges = map.split(separator: "\n").compactMap {
      line -> (outside: UInt64, count: UInt64)? in
      let words = line.split(separator: " ").map { UInt64($0) }
      guard words.count == 3, let outside = words[1], let count = words[2] else { return nil }
      return (outside, count)
    }
    mapsRoot = ranges.contains { $0.outside == 0 && $0.count > 0 }
    isComplete = ranges.reduce(0) { $0 &+ min($1.count, 1 << 32) } >= UInt64(UInt32.max)
  }

  static func current() -> DaemonTrust {
    DaemonTrust(user: geteuid(), overflow: overflowText, map: text(of: "/proc/self/uid_map"))
  }

  /// What the system says, which a process that gives up rights must read before.
  private static let overflowText = text(of: "/proc/sys/kernel/overflowuid")

  /// This process's trust, as far as a verdict on a listener needs it.
  ///
  /// Looks at no file if the listener has a number here, as a process that has given up rights may have no file to look
  /// at.
  static func current(for listener: UInt32) -> DaemonTrust {
    let simple = DaemonTrust(user: geteuid(), overflow: overflowText, map: nil)
    return listener == simple.overflow ? current() : simple
  }

  /// Whether this user may be the host's root, or another one who has no number in this user namespace.
  func lacksNumber(_ listener: UInt32) -> Bool { listener == overflow && !isComplete }

  package enum Verdict: Equatable {
    case trusted
    /// The daemon may belong to the host's root, who is not mapped here.
    case trustedIfNamed
    case refused
  }

  /// Whether to trust a daemon.
  ///
  /// - Parameter listener: The user who listens.
  /// - Returns: The verdict.
  package func verdict(on listener: UInt32) -> Verdict {
    if listener == overflow, !isComplete { return mapsRoot ? .refused : .trustedIfNamed }
    return listener == 0 || listener == user ? .trusted : .refused
  }

  private static func text(of path: String) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
      unsafe count = max(0, read(file, buffer.baseAddress, buffer.count))
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension DaemonAddress {
  /// Checks, before anything is sent, that the listener at the other end is root or this process's
  /// own user.
  ///
  /// At a default address it also checks that no other user can change the folder.
  ///
  /// - Throws: ``NetmapError`` `EPERM`, which names the user.
  func verify(_ connection: MessageSocket) throws(NetmapError) {
    guard let peer = connection.peer else { throw systemError("getsockopt(SO_PEERCRED)", path) }
    let trust = DaemonTrust.current(for: peer.user)
    let forced = environment("NETMAP_SOCKET")
    let isUsual = forced == nil && isDefault
    switch trust.verdict(on: peer.user) {
    case .trusted: break
    case .trustedIfNamed:
      guard !isUsual else {
        throw untrusted(
          "the user who runs netmapd there has no number in this user namespace",
          "if that user is the host's root, set NETMAP_SOCKET=\(path)")
      }
      guard isBeyondReach(trust) else {
        throw untrusted(
          "the user who runs netmapd there has no number in this user namespace, and this process may"
            + " write to the folder of the socket",
          "mount the host's folder of the socket, which only root may write to")
      }
    case .refused:
      throw untrusted(
        "user \(peer.user) runs netmapd there, and user \(trust.user) runs this process: netmapd must be"
          + " root's or the user's own",
        isUsual
          ? "have user \(peer.user) end it, or set NETMAP_SOCKET to a path in a folder of your own"
          : "run the program as user \(peer.user), or use another socket")
    }
    if isUsual { try checkFolder() }
  }

  private func untrusted(_ reason: String, _ remedy: String) -> NetmapError {
    NetmapError(.notPermitted, "connect", path, reason: reason, remedy: remedy)
  }

  /// Whether this process cannot change the contents of the folder.
  private func isBeyondReach(_ trust: DaemonTrust) -> Bool {
    var status = stat()
    guard unsafe stat(folder, &status) == 0 else { return false }
    // If this process's own user is not mapped, the folder's owner cannot be told from other
    // unmapped users.
    guard status.st_uid != trust.user || trust.user == trust.overflow else { return false }
    // 0x200 is AT_EACCESS: check with the effective IDs.
    return unsafe faccessat(AT_FDCWD, folder, W_OK, 0x200) != 0
  }

  /// The address of the daemon that made a token, if that daemon is root's or this user's own.
  ///
  /// - Parameter token: A descriptor, which may come from any process. Nothing is sent on it.
  /// - Returns: The address by which this process reaches the daemon.
  /// - Throws: ``NetmapError`` `ENOTSOCK` or `EINVAL` for a descriptor that is not a token, `EPERM`
  ///   for a token of another user's daemon.
  static func daemon(ofToken token: CInt) throws(NetmapError) -> DaemonAddress {
    let address = try DaemonAddress(peerOf: token)
    guard let peer = MessageSocket.peer(of: token) else {
      throw systemError("getsockopt(SO_PEERCRED)", address.path)
    }
    let trust = DaemonTrust.current(for: peer.user)
    var verdict = trust.verdict(on: peer.user)
    if verdict != .trusted, trust.lacksNumber(peer.user), TrustedTokens.contains(token) {
      verdict = .trusted
    }
    if verdict != .refused, !TokenName.isOwn(of: token) {
      throw NetmapError(
        .invalidArgument, "attach", "descriptor \(token)",
        reason: "it is connected to \(address.path), but it is not a token",
        remedy: "pass a token of a netmapd")
    }
    if verdict == .trusted {
      TrustedTokens.remember(token)
      return address
    }
    // This process trusts the daemon that the user has named. If the token belongs to the same
    // daemon, the token is trusted too.
    if verdict == .trustedIfNamed, let path = environment("NETMAP_SOCKET") {
      let named = try DaemonAddress(path: path)
      if let connection = try named.connect(), let other = connection.peer, other == peer,
        try DaemonAddress(peerOf: connection.descriptor) == address
      {
        TrustedTokens.remember(token)
        return named
      }
    }
    throw NetmapError(
      .notPermitted, "attach", "token of \(address.path)",
      reason:
        "user \(peer.user) runs its netmapd, and user \(trust.user) runs this process: netmapd"
        + " must be root's or the user's own",
      remedy: "run the program as user \(peer.user), or pass a port of root's netmapd")
  }

  /// The address to which the peer of a socket is bound.
  private init(peerOf file: CInt) throws(NetmapError) {
    var address = sockaddr_un()
    var size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe getpeername(file, $0, &size)
      }
    }
    guard result == 0 else {
      throw systemError("getpeername", "descriptor \(file)", remedy: "pass a token of a netmapd")
    }
    var (kind, kindSize) = (CInt(0), socklen_t(MemoryLayout<CInt>.size))
    _ = unsafe getsockopt(file, SOL_SOCKET, SO_TYPE, &kind, &kindSize)
    let bytes = unsafe withUnsafeBytes(of: &address.sun_path) { unsafe Array($0) }
    guard address.sun_family == sa_family_t(AF_UNIX), bytes.first != 0,
      kind == CInt(SOCK_SEQPACKET.rawValue)
    else {
      throw NetmapError(
        .invalidArgument, "attach", "descriptor \(file)",
        reason: "it is not connected to a netmapd", remedy: "pass a token of a netmapd")
    }
    try self.init(path: String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
  }

  /// Checks the folder of a default address: it must belong to root or this user, and no other user
  /// may write to it.
  private func checkFolder() throws(NetmapError) {
    var status = stat()
    guard unsafe lstat(folder, &status) == 0 else { throw systemError("lstat", folder) }
    if let reason = Self.mistrust(of: status, strictly: true) {
      throw NetmapError(
        .notPermitted, "use", folder, reason: reason,
        remedy: "remove it, or set NETMAP_SOCKET to a path in a folder of your own")
    }
  }

  /// The reason not to trust a folder with sockets.
  ///
  /// - Parameters:
  ///   - status: The folder's status.
  ///   - strictly: Whether to refuse a folder to which other users may write.
  /// - Returns: Nil for a folder that can be trusted.
  static func mistrust(of status: stat, strictly: Bool) -> String? {
    guard status.st_mode & S_IFMT == S_IFDIR else { return "it is not a folder" }
    guard status.st_uid == 0 || status.st_uid == geteuid() else {
      return "it belongs to user \(status.st_uid)"
    }
    guard !strictly || status.st_mode & 0o022 == 0 else { return "other users may write to it" }
    return nil
  }
}
