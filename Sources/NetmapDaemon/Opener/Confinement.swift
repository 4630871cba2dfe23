internal import CLinux
internal import Glibc
package import NetmapCore

/// The user that the broker runs as.
package struct ConfinedUser: Hashable, Sendable {
  package var user: UInt32
  package var group: UInt32

  package init(user: UInt32, group: UInt32) {
    self.user = user
    self.group = group
  }

  /// A user whom nobody is: no system gives this number to anybody, nor to a container's users. Another
  /// process of the broker's user could stop the broker, or set its limits.
  static let own = ConfinedUser(user: 0x7000_6e6d, group: 0x7000_6e6d)

  /// Who a broker of this process can be.
  package enum Choice {
    case user(ConfinedUser)
    /// This process is not root, so it has no rights to keep from a broker.
    case notRoot
    /// It is, and all the same it can start none. With the reason.
    case none(String)
  }

  /// The user `netmapd` where there is one, else ``own``, else, where a user namespace lacks that, `nobody`.
  package static func available() -> Choice {
    guard geteuid() == 0 else { return .notRoot }
    var failures: [String] = []
    for candidate in [named("netmapd"), own, named("nobody")].compactMap({ $0 })
    where candidate.user != 0 {
      guard let failure = candidate.failure else { return .user(candidate) }
      failures.append("user \(candidate.user): \(failure)")
    }
    return .none(failures.joined(separator: "; "))
  }

  private static func named(_ name: String) -> ConfinedUser? {
    guard let entry = unsafe getpwnam(name) else { return nil }
    return unsafe ConfinedUser(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
  }

  /// Why no child of this process can become it; nil when one can.
  private var failure: String? {
    let child = clinux_fork()
    guard child >= 0 else { return unsafe "fork: \(String(cString: strerror(errno)))" }
    if child == 0 { _exit(take() ? 0 : max(1, errno)) }
    var status: CInt = -1
    while unsafe waitpid(child, &status, 0) < 0 {
      guard errno == EINTR else {
        return unsafe "waitpid: \(String(cString: strerror(errno)))"
      }
    }
    guard status != 0 else { return nil }
    return status & 0x7f == 0
      ? unsafe "setresuid: \(String(cString: strerror(status >> 8 & 0xff)))"
      : "signal \(status & 0x7f)"
  }

  /// Becomes it, for good. Only system calls: a child by fork(2) may do no more.
  fileprivate func take() -> Bool {
    setgroups(0, nil) == 0 && setresgid(group, group, group) == 0
      && setresuid(user, user, user) == 0
  }
}

/// What the broker gives up before it meets any input.
package enum Confinement {
  /// Becomes a user without any right, for good: no capability, no program that gives one, no memory dump,
  /// no tracing by others of that user, and no system calls but those of ``CallFilter``.
  ///
  /// - Parameters:
  ///   - user: Who to become.
  ///   - opener: The process whose end ends this one; its parent.
  /// - Throws: ``NetmapError`` when anything of it does not work; the process must end then.
  package static func enter(_ user: ConfinedUser, opener: Int32) throws(NetmapError) {
    AskedNamespace.use()
    // Abstract names, those by which processes tell of filters among them, are of the network namespace of the socket
    // that is bound. Sockets that it is given are of theirs. Where there can be no more, it shares root's.
    _ = unshare(CInt(CLINUX_CLONE_NEWNET))
    // No capability can come back, whatever is run.
    for capability in 0..<64 as Range<UInt> {
      guard clinux_prctl(CInt(CLINUX_PR_CAPBSET_DROP), capability) != 0 else { continue }
      // EINVAL: there are no more. EPERM: root lacks CAP_SETPCAP; nothing can make use of the set
      // that stays, as no program gives rights from now on.
      guard errno == EINVAL || errno == EPERM else {
        throw systemError("prctl(PR_CAPBSET_DROP)", "netmapd")
      }
      break
    }
    guard user.take() else { throw systemError("setresuid", "user \(user.user)") }
    var header: [2 of UInt32] = [0x2008_0522, 0]
    let none: [6 of UInt32] = [0, 0, 0, 0, 0, 0]
    var sets = none
    guard unsafe capset(&header, &sets) == 0 else { throw systemError("capset", "netmapd") }
    // A change of the user clears the first, and exec the second.
    guard clinux_prctl(CInt(CLINUX_PR_SET_PDEATHSIG), UInt(SIGKILL)) == 0,
      clinux_prctl(CInt(CLINUX_PR_SET_DUMPABLE), 0) == 0,
      clinux_prctl(CInt(CLINUX_PR_SET_NO_NEW_PRIVS), 1) == 0
    else { throw systemError("prctl", "netmapd") }
    // It may have ended before its end was to be told.
    guard getppid() == opener else {
      throw NetmapError(.init(rawValue: ESRCH), "start", "netmapd", reason: "its opener has ended")
    }
    guard geteuid() == user.user, setresuid(0, 0, 0) != 0 else {
      throw NetmapError(
        .notPermitted, "start", "netmapd", reason: "it still has root's rights")
    }
    guard clinux_landlock() == 0 else { throw systemError("landlock_restrict_self", "netmapd") }
    try CallFilter(for: getpid()).install()
  }
}
