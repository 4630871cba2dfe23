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

  /// A token and a mailbox for each client: takes as many as the host allows.
  package static func raise() {
    guard let limit = current, set(limit.rlim_max, below: limit.rlim_max >= reservingLimit) else {
      return
    }
    hasReserve.store(limit.rlim_max >= reservingLimit, ordering: .relaxed)
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
