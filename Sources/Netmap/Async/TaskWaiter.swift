internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// Waits on a thread of its own for the ports of suspended tasks, so that no task blocks a thread of Swift's
/// cooperative pool.
///
/// There is one waiter for all ports that share a table of doorbells. Its thread starts with the first wait, and ends
/// after a second without a suspended task. While a task is suspended, the waiter's thread syncs the task's port, and
/// no other thread does: the task resumes only after the waiter has stopped using the port.
final class TaskWaiter: Sendable {
  /// The result of a wait: the ready directions, none after a time-out; nil if the task was canceled.
  typealias Outcome = Result<Readiness?, NetmapError>

  /// A suspended task.
  ///
  /// Moves a port, which is not `Sendable`, to the waiter's thread and back. That is safe because the task that uses
  /// the port is suspended meanwhile.
  private struct Suspended: @unchecked Sendable {
    let port: MappedPort
    let wanted: Readiness
    /// Monotonic nanoseconds; nil for no limit.
    let deadline: UInt64?
    let ticket: Ticket
    let continuation: CheckedContinuation<Outcome, Never>
  }

  /// Tells the waiter's thread that a task was canceled, possibly before the task is suspended.
  private final class Ticket: Sendable {
    let isCanceled = Atomic<Bool>(false)
  }

  /// The waiters whose threads run, by their table of doorbells.
  private static let running = Mutex<[ObjectIdentifier: TaskWaiter]>([:])
  /// How long a thread stays without a suspended task, in milliseconds.
  private static let idleTime: CInt = 1000

  private let doorbells: DoorbellTable
  /// Tasks that the thread has not taken over yet.
  private let added = Mutex<[Suspended]>([])
  /// An eventfd: readable when a task was added or canceled.
  private let changes: OwnedFile

  private init(_ doorbells: DoorbellTable) throws(NetmapError) {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard file >= 0 else {
      throw systemError("eventfd", "task", remedy: "raise the limit of open files (ulimit -n)")
    }
    changes = OwnedFile(file)
    self.doorbells = doorbells
  }

  /// Suspends the calling task until the port is ready, the time has passed, or the task is canceled.
  ///
  /// - Parameters:
  ///   - port: The port; no one else uses it until the call returns.
  ///   - doorbells: The table of the port's doorbells.
  ///   - wanted: The directions to wait for.
  ///   - timeout: Nanoseconds; nil for no limit.
  ///   - isolation: The caller's isolation.
  /// - Returns: The ready directions, nil if the task was canceled, or the error that ended the wait.
  static func wait(
    for port: MappedPort, _ doorbells: DoorbellTable, _ wanted: Readiness, timeout: UInt64?,
    isolation: isolated (any Actor)? = #isolation
  ) async -> Outcome {
    let ticket = Ticket()
    let deadline = timeout.map { monotonicNanoseconds() &+ $0 }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let task = Suspended(
          port: port, wanted: wanted, deadline: deadline, ticket: ticket,
          continuation: continuation)
        do throws(NetmapError) {
          try add(task, doorbells)
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    } onCancel: {
      ticket.isCanceled.store(true, ordering: .releasing)
      running.withLock { $0[ObjectIdentifier(doorbells)]?.ring() }
    }
  }

  private static func add(_ task: Suspended, _ doorbells: DoorbellTable) throws(NetmapError) {
    // Under the lock, so that the thread does not end between the lookup and the hand-over.
    try running.withLock { (waiters) throws(NetmapError) in
      let key = ObjectIdentifier(doorbells)
      if let waiter = waiters[key] {
        waiter.added.withLock { $0.append(task) }
        return waiter.ring()
      }
      let waiter = try TaskWaiter(doorbells)
      waiter.added.withLock { $0.append(task) }
      pthread_detach(try EngineThread.start("task waiter") { waiter.run() })
      waiters[key] = waiter
    }
  }

  private func ring() {
    var one: UInt64 = 1
    _ = unsafe write(changes.descriptor, &one, 8)
  }

  // MARK: - On the waiter's thread

  private func run() {
    let sleeper = Sleeper(doorbells: doorbells)
    var tasks: [Suspended] = []
    while true {
      tasks += added.withLock { tasks in
        defer { tasks = [] }
        return tasks
      }
      tasks.removeAll { task in
        guard task.ticket.isCanceled.load(ordering: .acquiring) else { return false }
        task.continuation.resume(returning: .success(nil))
        return true
      }
      if tasks.isEmpty {
        if isIdle() { return }
      } else {
        wait(&tasks, sleeper)
      }
    }
  }

  /// Waits for another task, and retires the waiter if none comes.
  private func isIdle() -> Bool {
    var entry = pollfd(fd: changes.descriptor, events: Int16(POLLIN), revents: 0)
    if unsafe poll(&entry, 1, Self.idleTime) > 0 {
      takeChanges()
      return false
    }
    return Self.running.withLock { waiters in
      guard added.withLock({ $0.isEmpty }) else { return false }
      waiters[ObjectIdentifier(doorbells)] = nil
      return true
    }
  }

  private func takeChanges() {
    var count: UInt64 = 0
    _ = unsafe read(changes.descriptor, &count, 8)
  }

  /// Sleeps until a port is ready, a deadline has passed, or tasks have been added or canceled, and resumes the tasks
  /// that have something to do.
  private func wait(_ tasks: inout [Suspended], _ sleeper: Sleeper) {
    var items = tasks.map { Sleeper.Item(port: $0.port, wanted: $0.wanted) }
    var descriptors = [pollfd(fd: changes.descriptor, events: Int16(POLLIN), revents: 0)]
    let now = monotonicNanoseconds()
    let timeout = tasks.compactMap(\.deadline).min().map { $0 > now ? $0 - now : 0 }
    do throws(NetmapError) {
      _ = try sleeper.wait(for: &items, and: &descriptors, timeout: timeout)
    } catch {
      // The thread leaves all signals to other threads, so this is a lack of descriptors or memory.
      for task in tasks { task.continuation.resume(returning: .failure(error)) }
      tasks = []
      return
    }
    if descriptors[0].revents != 0 { takeChanges() }
    let time = monotonicNanoseconds()
    var left: [Suspended] = []
    for (task, item) in zip(tasks, items) {
      if !item.ready.isEmpty || task.deadline.map({ $0 <= time }) == true {
        task.continuation.resume(returning: .success(item.ready))
      } else {
        left.append(task)
      }
    }
    tasks = left
  }
}
