internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// The daemon's limit of open descriptors.
///
/// The last descriptors below the limit are a reserve for receiving. If there is no room for the
/// descriptors of an arriving message, the kernel closes them on the receiving thread, and that
/// close can wait for as long as their owner arranges.
package enum FileLimit {
  /// Room for the descriptors of one message, the sender's pidfd, and descriptors that other
  /// threads open meanwhile.
  private static let reserve: rlim_t = rlim_t(Message.descriptorCountMax) + 32
  /// A lower limit keeps no reserve, which would take up most of it.
  private static let reservingLimit: rlim_t = 1024

  /// The advice to users when descriptors run out.
  static let remedy = "close some ports, or raise netmapd's limit of open files (LimitNOFILE=)"

  private static let hasReserve = Atomic<Bool>(false)

  /// The number of descriptors for which the kernel's table has room from the start.
  ///
  /// Each takes 8 bytes of kernel memory.
  private static let roomAtStart: rlim_t = 65536

  /// Raises the limit as far as the host allows: each client needs descriptors for its tokens and
  /// its mailbox.
  ///
  /// Must be called before the process has a second thread. See `makeRoom(for:)`.
  package static func raise() {
    guard let limit = current, set(limit.rlim_max, below: limit.rlim_max >= reservingLimit) else {
      return
    }
    hasReserve.store(limit.rlim_max >= reservingLimit, ordering: .relaxed)
    makeRoom(for: min(current?.rlim_cur ?? 0, roomAtStart))
  }

  /// Makes the kernel grow its descriptor table to the size that the daemon will need.
  ///
  /// When the table of a process with several threads grows, the thread that needs a descriptor
  /// waits for an RCU grace period (`expand_fdtable` in Linux's fs/file.c). On a machine with busy
  /// processors that took up to eight seconds, in which the server answered no client. The table of
  /// a process with one thread grows without waiting, and no table shrinks.
  private static func makeRoom(for count: rlim_t) {
    guard count > 0 else { return }
    let file = OwnedFile(unsafe open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
    let last = fcntl(file.descriptor, F_DUPFD_CLOEXEC, CInt(count - 1))
    if last >= 0 { close(last) }
  }

  /// Runs `body`, which may also use the reserved descriptors.
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
