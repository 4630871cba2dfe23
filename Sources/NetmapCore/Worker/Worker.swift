internal import CLinux
internal import Glibc
internal import Synchronization

/// A thread of the engine that carries packets for untrusted processes, and between interfaces and
/// their switches.
///
/// It is the other side of the ports of untrusted processes. It starts with the first link, and
/// sleeps while nothing moves. Links have turns of bounded length, one after the other. A process
/// that sends without end therefore delays other links by one turn of its own link. A process that
/// stops, dies or corrupts its memory stops only its own link.
package final class Worker: Sendable {
  /// Used by the worker's thread only.
  private nonisolated(unsafe) let sleeper: Sleeper
  /// The doorbells that the sleeper watches. Used by the worker's thread only.
  private nonisolated(unsafe) let bells: Watch
  /// An eventfd that is readable when other threads have changed something for the worker's thread.
  private let bell: CInt
  /// The mail for this process; nil when no process sends any.
  private let mail: Mail?
  private let changes = Mutex(Changes())
  private let changeCount = Atomic<Int>(0)

  private struct Changes {
    var hasStarted = false
    var isStopping = false
    var added: [(number: UInt64, link: Handover)] = []
    var closed: [UInt64] = []
    /// Doorbells that are to wake the thread, and doorbells that no longer are.
    var watched: [PeerBell] = []
    var ignored: [PeerBell] = []
    var lastNumber: UInt64 = 0
  }

  /// Mail that tells this process of other processes' doorbells and ports.
  ///
  /// Reading it may release memory. The worker's thread reads it between turns, when it uses none
  /// of that memory.
  package struct Mail: Sendable {
    /// Readable when there is mail.
    package let descriptor: CInt
    let read: @Sendable () -> State

    /// - Parameters:
    ///   - descriptor: Readable when there is mail.
    ///   - read: Reads a bounded part of the mail, without blocking.
    package init(descriptor: CInt, read: @escaping @Sendable () -> State) {
      self.descriptor = descriptor
      self.read = read
    }

    package enum State: Sendable {
      /// All mail has been read.
      case isRead
      /// `read` must be called again soon: there is more mail, or mail already read is not
      /// finished.
      case goesOn
      /// No mail will come any more.
      case hasEnded
    }
  }

  /// A link on its way to the worker's thread, which alone uses it from then on.
  private struct Handover: @unchecked Sendable {
    let link: any WorkerTask
  }

  /// The turns without any work before the thread sleeps: some microseconds, in which the next
  /// packet of a stream usually comes.
  private static let idleTurns = 100
  /// The turns between two looks at the mail while packets move: each look is a system call.
  private static let turnsWithoutMail = 64
  /// How long the thread sleeps while mail is not finished, nanoseconds.
  private static let mailPause: UInt64 = 10_000_000

  /// The longest sleep where other processes wake the thread, nanoseconds.
  private static let longestSleep: UInt64 = 100_000_000

  /// - Parameters:
  ///   - doorbells: The doorbells on which the thread sleeps, and which it can ring. No other
  ///     sleeper uses them.
  ///   - mail: The mail for this process.
  /// - Throws: ``NetmapError`` when no descriptors are left.
  package init(doorbells: DoorbellTable, mail: Mail? = nil) throws(NetmapError) {
    self.mail = mail
    let sleeper = Sleeper(
      doorbells: doorbells, isAlone: true, lookingAgainAfter: Self.longestSleep)
    unsafe bells = try sleeper.watch()
    unsafe self.sleeper = sleeper
    bell = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard bell >= 0 else { throw systemError("eventfd", "worker") }
  }

  deinit { Glibc.close(bell) }

  /// Begins to serve a link.
  ///
  /// - Returns: The number of the link, for ``close(_:)``.
  /// - Throws: ``NetmapError`` when no thread can be created.
  package func add(_ link: sending WorkerLink) throws(NetmapError) -> UInt64 {
    try serve(link)
  }

  /// Begins to serve any task, as ``add(_:)`` does.
  func serve(_ link: sending any WorkerTask) throws(NetmapError) -> UInt64 {
    let handover = Handover(link: link)
    let (number, starts) = changes.withLock { changes in
      changes.lastNumber += 1
      changes.added.append((changes.lastNumber, handover))
      defer { changes.hasStarted = true }
      return (changes.lastNumber, !changes.hasStarted)
    }
    if starts {
      do throws(NetmapError) {
        try start()
      } catch {
        changes.withLock { changes in
          changes.hasStarted = false
          changes.added.removeAll { $0.number == number }
        }
        throw error
      }
    }
    tell()
    return number
  }

  /// Ends a link whose port has been closed.
  ///
  /// The worker still delivers the packets that the port has sent, and then calls the link's `end`.
  package func close(_ number: UInt64) {
    changes.withLock { $0.closed.append(number) }
    tell()
  }

  /// Lets an untrusted client wake the thread, on the socket on which the worker rings that client.
  ///
  /// The worker's thread alone receives on that socket.
  package func watch(_ bell: PeerBell) {
    changes.withLock { $0.watched.append(bell) }
    tell()
  }

  /// Stops watching the doorbell of an untrusted client, which has gone or may no longer wake the
  /// thread.
  package func ignore(_ bell: PeerBell) {
    changes.withLock { $0.ignored.append(bell) }
    tell()
  }

  /// Ends the thread soon, without ending its links.
  package func stop() {
    changes.withLock { $0.isStopping = true }
    tell()
  }

  /// Makes the thread look at everything again.
  package func wake() { tell() }

  private func tell() {
    changeCount.wrappingAdd(1, ordering: .sequentiallyConsistent)
    var one: UInt64 = 1
    _ = unsafe write(bell, &one, 8)
  }

  private func start() throws(NetmapError) {
    pthread_detach(try EngineThread.start("worker") { [self] in unsafe run(sleeper) })
  }

  // MARK: - On the worker's thread

  private func run(_ sleeper: Sleeper) {
    var links: [UInt64: any WorkerTask] = [:]
    var seen = 0
    var idle = 0
    var turns = 0
    var post = mail == nil ? Mail.State.hasEnded : .goesOn
    while true {
      turns &+= 1
      if post != .hasEnded, turns & (Self.turnsWithoutMail - 1) == 0 { readMail(&post) }
      let count = changeCount.load(ordering: .acquiring)
      if count != seen {
        seen = count
        guard take(&links) else { return }
      }
      var moved = 0
      for link in links.values { moved += link.turn() }
      idle = moved > 0 ? 0 : idle + 1
      if moved > 0 { unsafe bells.noteSomething() }
      guard idle >= Self.idleTurns || links.values.contains(where: { $0.isClosing }) else {
        continue
      }
      retire(&links)
      if moved > 0 { continue }
      sleep(links, sleeper, &post)
    }
  }

  /// Takes over the requested changes.
  ///
  /// - Returns: False when the thread is to end.
  private func take(_ links: inout [UInt64: any WorkerTask]) -> Bool {
    let new = changes.withLock { changes in
      defer {
        (changes.added, changes.closed) = ([], [])
        (changes.watched, changes.ignored) = ([], [])
      }
      return changes
    }
    for bell in new.watched { unsafe bells.add(bell) }
    for bell in new.ignored { unsafe bells.remove(bell) }
    for (number, handover) in new.added { links[number] = handover.link }
    for number in new.closed { links[number]?.close() }
    return !new.isStopping
  }

  private func retire(_ links: inout [UInt64: any WorkerTask]) {
    let now = monotonicNanoseconds()
    for (number, link) in links where link.isDone(at: now) {
      links[number] = nil
      link.finish()
    }
  }

  private func readMail(_ post: inout Mail.State) {
    if let mail { post = mail.read() }
  }

  private func sleep(
    _ links: [UInt64: any WorkerTask], _ sleeper: Sleeper, _ post: inout Mail.State
  ) {
    if post == .goesOn { readMail(&post) }
    let now = monotonicNanoseconds()
    var timeout: UInt64? = post == .goesOn ? Self.mailPause : nil
    var items: [Sleeper.Item] = []
    var owners: [any WorkerTask] = []
    for link in links.values {
      if link.isClosing { timeout = min(timeout ?? .max, 10_000_000) }
      if let pause = link.nextLook() { timeout = min(timeout ?? .max, pause) }
      guard link.pausesUntil <= now else {
        timeout = min(timeout ?? .max, link.pausesUntil - now)
        continue
      }
      for item in link.items {
        items.append(item)
        owners.append(link)
      }
    }
    var descriptors = [pollfd(fd: bell, events: Int16(POLLIN), revents: 0)]
    if let mail, post != .hasEnded {
      descriptors.append(pollfd(fd: mail.descriptor, events: Int16(POLLIN), revents: 0))
    }
    do throws(NetmapError) {
      _ = try sleeper.wait(for: &items, and: &descriptors, timeout: timeout)
    } catch {
      // No descriptors or no memory are left. Wait a moment, because other threads or processes may
      // release some.
      usleep(1000)
    }
    if descriptors[0].revents != 0 {
      var count: UInt64 = 0
      _ = unsafe read(bell, &count, 8)
    }
    if descriptors.count > 1, descriptors[1].revents != 0 { readMail(&post) }
    for (item, link) in zip(items, owners) where !item.ready.isEmpty {
      link.noteAlarm(at: monotonicNanoseconds())
    }
  }
}
