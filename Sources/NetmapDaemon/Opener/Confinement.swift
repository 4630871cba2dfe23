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

  /// A user number that no process should have.
  ///
  /// No system assigns this number to a user, or to a container's users. Another process of the
  /// broker's user could stop the broker or change its limits.
  static let own = ConfinedUser(user: 0x7000_6e6d, group: 0x7000_6e6d)

  /// The users that a broker of this process can become.
  package enum Choice {
    case user(ConfinedUser)
    /// This process is not root, so it has no rights to keep from a broker.
    case notRoot
    /// This process is root, but cannot start a broker, for the given reason.
    case none(String)
  }

  /// Chooses the user `netmapd` if it exists, else ``own``, else, in a user namespace without that
  /// number, `nobody`.
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

  /// The reason why a child of this process cannot become this user; nil if it can.
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

  /// Becomes this user, irrevocably.
  ///
  /// Makes only system calls, because a child of fork(2) may do no more.
  fileprivate func take() -> Bool {
    setgroups(0, nil) == 0 && setresgid(group, group, group) == 0
      && setresuid(user, user, user) == 0
  }
}

/// The rights that the broker gives up before it reads any input.
package enum Confinement {
  /// Becomes a user without privileges, irrevocably.
  ///
  /// Afterwards the process has no capability, can run no program that grants one, dumps no memory,
  /// cannot be traced by other processes of its user, and can make only the system calls of
  /// ``CallFilter``.
  ///
  /// - Parameters:
  ///   - user: The user to become.
  ///   - opener: The parent process, whose end kills this one.
  /// - Throws: ``NetmapError`` when any step fails. The process must end then.
  package static func enter(_ user: ConfinedUser, opener: Int32) throws(NetmapError) {
    AskedNamespace.use()
    // A socket binds abstract names in the network namespace to which it belongs. Processes
    // announce their filters by such names, which the broker must not be able to take. Sockets that
    // the broker is given still belong to their own namespaces. Where the kernel allows no more
    // namespaces, the broker stays in root's.
    _ = unshare(CInt(CLINUX_CLONE_NEWNET))
    // No program can bring a capability back.
    for capability in 0..<64 as Range<UInt> {
      guard clinux_prctl(CInt(CLINUX_PR_CAPBSET_DROP), capability) != 0 else { continue }
      // EINVAL: there are no more capabilities. EPERM: root lacks CAP_SETPCAP. The remaining set is
      // of no use then, as no program grants rights from now on.
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
    // setresuid clears the parent-death signal, and exec resets the dumpable flag, so both are set
    // here.
    guard clinux_prctl(CInt(CLINUX_PR_SET_PDEATHSIG), UInt(SIGKILL)) == 0,
      clinux_prctl(CInt(CLINUX_PR_SET_DUMPABLE), 0) == 0,
      clinux_prctl(CInt(CLINUX_PR_SET_NO_NEW_PRIVS), 1) == 0
    else { throw systemError("prctl", "netmapd") }
    // The opener may have ended before the parent-death signal was set.
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
