internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// How many descriptors the daemon may have.
///
/// The last ones are for receiving: descriptors for which there is no room when a message arrives are closed by
/// the kernel on the thread that receives, and that waits for whatever their owner has prepared.
package enum FileLimit {
  /// A message's, the sender's pidfd, and what other threads open meanwhile.
  private static let reserve: rlim_t = rlim_t(Message.descriptorCountMax) + 32
  /// Below this the whole would be a reserve.
  private static let reservingLimit: rlim_t = 1024

  /// What to do when there are too few.
  static let remedy = "close some ports, or raise netmapd's limit of open files (LimitNOFILE=)"

  private static let hasReserve = Atomic<Bool>(false)

  /// So many descriptors the kernel's table has room for from the start: 8 bytes of kernel memory each.
  private static let roomAtStart: rlim_t = 65536

  /// A token and a mailbox for each client: takes as many as the host allows.
  ///
  /// Called before the process has a second thread. See ``makeRoom(for:)``.
  package static func raise() {
    guard let limit = current, set(limit.rlim_max, below: limit.rlim_max >= reservingLimit) else {
      return
    }
    hasReserve.store(limit.rlim_max >= reservingLimit, ordering: .relaxed)
    makeRoom(for: min(current?.rlim_cur ?? 0, roomAtStart))
  }

  /// Has the kernel make its table of descriptors as large as it will be needed.
  ///
  /// When the table of a process with several threads grows, the thread that needs a descriptor waits for an RCU
  /// grace period (`expand_fdtable` in Linux's fs/file.c). On a machine whose processors are busy that took up
  /// to eight seconds, for which the server answered nobody. The table of a process with one thread grows without
  /// waiting, and no table shrinks.
  private static func makeRoom(for count: rlim_t) {
    guard count > 0 else { return }
    let file = OwnedFile(unsafe open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
    let last = fcntl(file.descriptor, F_DUPFD_CLOEXEC, CInt(count - 1))
    if last >= 0 { close(last) }
  }

  /// Runs `body`, which may use the last descriptors as well.
  static func withReserve<R>(_ body: () -> R) -> R {
    guard hasReserve.load(ordering: .relaxed), let limit = current else { return body() }
    _ = set(limit.rlim_max, below: false)
    defer { _ = set(limit.rlim_max, below: true) }
    return body()
  }

  private static var current: rlimit? {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      return nil
    }
    return limit
  }

  private static func set(_ most: rlim_t, below keepsReserve: Bool) -> Bool {
    var limit = rlimit(rlim_cur: keepsReserve ? most - reserve : most, rlim_max: most)
    return unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
  }
}
