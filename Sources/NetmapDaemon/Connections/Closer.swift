internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// Closes descriptors that other processes made or can put descriptors into.
///
/// close(2) of such a file can take as long as its owner likes: for example, a TCP socket that
/// lingers, a file of a slow file system, or a Unix socket whose queue contains one of these. So no
/// thread that serves other processes closes such files. The closer has threads of its own. Each
/// user has a queue and at most ``threadsPerUser`` threads, so a user whose files do not close
/// delays only its own.
final class Closer: Sendable {
  /// The most threads that close for one user at a time.
  static let threadsPerUser = 2
  /// The most threads for all users.
  static let threadsMax = 128
  /// The most idle threads that are kept.
  private static let idleMax = 2
  /// How long a close may take before it counts as stuck, nanoseconds.
  private static let patience: UInt64 = 100_000_000

  /// A task for a closer thread.
  private enum Job: Sendable {
    case close(CInt)
    /// Closes a descriptor without draining its queue.
    case release(CInt)
    case run(@Sendable () -> Void)
  }

  private struct Queue {
    /// The jobs; nil for those that were taken.
    private var jobs: [Job?] = []
    /// The place in `jobs` of the job that is next.
    private var place = 0
    /// The threads that work on the queue or are about to, each with the time at which its current
    /// job began; 0 before the first.
    var workers: [UInt64: UInt64] = [:]

    /// The number of jobs that have not begun.
    var count: Int { jobs.count - place }

    mutating func append(_ job: Job) { jobs.append(job) }

    /// Takes the oldest job, so that no job waits for ever behind newer ones.
    ///
    /// The caller gets the only copy: objects that a job holds must not end while the queue's lock is held, because
    /// their end may add a job.
    mutating func takeFirst() -> Job? {
      guard place < jobs.count else { return nil }
      defer {
        place += 1
        if place == jobs.count || place >= 1024 {
          jobs.removeFirst(place)
          place = 0
        }
      }
      return jobs[place].take()
    }
  }

  private struct State {
    var queues: [UInt32: Queue] = [:]
    /// The users who need another thread.
    var wanted: [UInt32] = []
    var threads = 0
    var idle = 0
    var lastWorker: UInt64 = 0
    var isStopping = false
  }

  private let state = Mutex(State())
  /// An eventfd that counts the entries of `wanted`.
  private let bell: OwnedFile

  /// - Throws: ``NetmapError`` when there are no descriptors left.
  init() throws(NetmapError) {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_SEMAPHORE))
    guard file >= 0 else { throw systemError("eventfd", "netmapd") }
    bell = OwnedFile(file)
  }

  /// Closes a descriptor on a closer thread, without waiting.
  ///
  /// - Parameters:
  ///   - file: The descriptor; this object takes ownership of it.
  ///   - user: The user who pays for the time that the close takes.
  func close(_ file: CInt, for user: UInt32) { put(.close(file), for: user) }

  /// Closes a descriptor on a closer thread without draining its queue.
  ///
  /// For a socket of which another process has a copy and can make every call on its queue hang.
  func release(_ file: CInt, for user: UInt32) { put(.release(file), for: user) }

  /// The number of a user's jobs that have not begun.
  func backlog(of user: UInt32) -> Int { state.withLock { $0.queues[user]?.count ?? 0 } }

  /// Runs `body` on a closer thread.
  ///
  /// For other work that a user can make slow.
  func run(for user: UInt32, _ body: @escaping @Sendable () -> Void) {
    put(.run(body), for: user)
  }

  /// Takes all messages out of the queue of a socket that was shut down, and closes their descriptors, on a closer
  /// thread.
  ///
  /// For a socket that the server keeps, but does not read any more.
  func drain(_ socket: ForeignFile, for user: UInt32) {
    run(for: user) { Self.drain(socket.descriptor, depth: 0) }
  }

  private func put(_ job: Job, for user: UInt32) {
    let (isWanted, starts) = state.withLock { state -> (Bool, Bool) in
      state.queues[user, default: Queue()].append(job)
      let busy = state.queues[user]?.workers.count ?? 0
      let asked = state.wanted.count { $0 == user }
      let isWanted = busy + asked < Self.threadsPerUser
      if isWanted { state.wanted.append(user) }
      let starts = state.idle < state.wanted.count && state.threads < Self.threadsMax
      if starts { state.threads += 1 }
      return (isWanted, starts)
    }
    if isWanted { ring() }
    if starts { start() }
  }

  private func ring() {
    var one: UInt64 = 1
    _ = unsafe write(bell.descriptor, &one, 8)
  }

  private func start() {
    do throws(NetmapError) {
      pthread_detach(try EngineThread.start("closer") { [self] in run() })
    } catch {
      // Existing threads continue, and the next job tries again to start one.
      state.withLock { $0.threads -= 1 }
    }
  }

  /// Whether all threads of a user are stuck.
  ///
  /// The daemon then refuses new connections of that user.
  func isStuck(for user: UInt32) -> Bool {
    let now = monotonicNanoseconds()
    return state.withLock { state in
      guard let workers = state.queues[user]?.workers else { return false }
      return workers.values.count { $0 != 0 && now >= $0 + Self.patience } >= Self.threadsPerUser
    }
  }

  /// Whether only stuck jobs are left, and jobs that wait behind them.
  var isIdle: Bool {
    let now = monotonicNanoseconds()
    return state.withLock { state in
      state.queues.values.allSatisfy { queue in
        let isStuck = queue.workers.values.allSatisfy { $0 != 0 && now >= $0 + Self.patience }
        return isStuck && (queue.count == 0 || !queue.workers.isEmpty)
      }
    }
  }

  // MARK: - On the closer threads

  private func run() {
    while true {
      let isEnough = state.withLock { state in
        guard state.idle < Self.idleMax || !state.wanted.isEmpty else {
          state.threads -= 1
          return true
        }
        state.idle += 1
        return false
      }
      if isEnough { return }
      var count: UInt64 = 0
      _ = unsafe read(bell.descriptor, &count, 8)
      let job = state.withLock { state -> (user: UInt32, worker: UInt64)? in
        state.idle -= 1
        guard !state.wanted.isEmpty else { return nil }
        let user = state.wanted.removeFirst()
        state.lastWorker += 1
        state.queues[user]?.workers[state.lastWorker] = 0
        return (user, state.lastWorker)
      }
      if let job { empty(job.user, as: job.worker) }
    }
  }

  private func empty(_ user: UInt32, as worker: UInt64) {
    while true {
      let next = state.withLock { state -> Job? in
        guard let job = state.queues[user]?.takeFirst() else {
          state.queues[user]?.workers[worker] = nil
          if state.queues[user]?.workers.isEmpty == true { state.queues[user] = nil }
          return nil
        }
        state.queues[user]?.workers[worker] = monotonicNanoseconds()
        return job
      }
      switch next {
      case .close(let file): Self.close(file, depth: 0)
      case .release(let file): Glibc.close(file)
      case .run(let body): body()
      case nil: return
      }
    }
  }
}

extension Closer {
  /// The kernel does not let sockets in queues of sockets nest deeper.
  private static let depthMax = 5
  /// The most messages to take out of one queue.
  ///
  /// The kernel closes the rest with the socket.
  private static let messagesMax = 4096

  /// Closes a descriptor.
  ///
  /// Drains its queue first, because the queued descriptors would linger otherwise.
  fileprivate static func close(_ file: CInt, depth: Int) {
    clinux_no_linger(file)
    if depth < depthMax, clinux_is_unix_socket(file) != 0 {
      // No more messages can arrive then. A copy of a token must not end the token for the processes that have others:
      // a program may have sent a message on a token with that token as the socket for the answer.
      if !TokenName.isOwn(of: file) { shutdown(file, CInt(SHUT_RDWR)) }
      drain(file, depth: depth)
    }
    Glibc.close(file)
  }

  private static func drain(_ socket: CInt, depth: Int) {
    var files = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
    var bytes = [UInt8](repeating: 0, count: 4096)
    for _ in 0..<messagesMax {
      var arrival = clinux_arrival()
      let result = unsafe clinux_receive_arrival(socket, &bytes, bytes.count, &files, &arrival)
      if arrival.pidfd >= 0 { Glibc.close(arrival.pidfd) }
      for inner in files.prefix(arrival.count) { close(inner, depth: depth + 1) }
      guard result > 0 || arrival.count > 0 || arrival.has_sender != 0 else { return }
    }
  }
}

/// A descriptor that another process made or can put descriptors into.
///
/// The ``Closer`` closes it when the object ends.
final class ForeignFile: Sendable {
  let descriptor: CInt
  private let user: UInt32
  private let closer: Closer
  private let isDrained: Bool

  /// - Parameters:
  ///   - descriptor: The descriptor; this object takes ownership of it.
  ///   - user: The user who pays for the close.
  ///   - closer: The closer to use.
  ///   - isDrained: Whether to drain the queue first if the descriptor is a socket.
  init(_ descriptor: CInt, of user: UInt32, _ closer: Closer, isDrained: Bool = true) {
    self.descriptor = descriptor
    self.user = user
    self.closer = closer
    self.isDrained = isDrained
  }

  deinit {
    if isDrained {
      closer.close(descriptor, for: user)
    } else {
      closer.release(descriptor, for: user)
    }
  }
}
