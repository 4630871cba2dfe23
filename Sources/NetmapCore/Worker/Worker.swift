internal import CLinux
internal import Glibc
internal import Synchronization

/// A thread of the engine that carries packets: the other side of ports whose processes are not trusted,
/// and between interfaces and the switches that they are on.
///
/// It starts with the first link, and sleeps when nothing moves. Links have turns of bounded length, one
/// after the other, so a process that sends without end delays the others by one turn of its own; one
/// that stops, dies or writes nonsense into its memory stops its own link only.
package final class Worker: Sendable {
  /// Used by the thread alone.
  private nonisolated(unsafe) let sleeper: Sleeper
  /// What the sleeper watches. Used by the thread alone.
  private nonisolated(unsafe) let bells: Watch
  /// Readable when there is something new for the thread.
  private let bell: CInt
  /// What is posted to this process; nil where nobody posts.
  private let mail: Mail?
  private let changes = Mutex(Changes())
  private let changeCount = Atomic<Int>(0)

  private struct Changes {
    var hasStarted = false
    var isStopping = false
    var added: [(number: UInt64, link: Handover)] = []
    var closed: [UInt64] = []
    /// Doorbells that are to wake the thread, and those that are not to any more.
    var watched: [PeerBell] = []
    var ignored: [PeerBell] = []
    var lastNumber: UInt64 = 0
  }

  /// What is posted to this process about others, and may let go of memory: the thread reads it between turns,
  /// when nothing of what it tells about is in use.
  package struct Mail: Sendable {
    /// Readable when there is something.
    let descriptor: CInt
    let read: @Sendable () -> State

    /// - Parameters:
    ///   - descriptor: Readable when there is something.
    ///   - read: Reads a bounded part of it, without blocking.
    package init(descriptor: CInt, read: @escaping @Sendable () -> State) {
      self.descriptor = descriptor
      self.read = read
    }

    package enum State: Sendable {
      /// All of it has been read.
      case isRead
      /// Something has to be done soon: there is more, or what has been read is not done with.
      case goesOn
      /// Nothing will be posted any more.
      case hasEnded
    }
  }

  /// A link on its way to the thread, which alone uses it from then on.
  private struct Handover: @unchecked Sendable {
    let link: any WorkerTask
  }

  /// Turns without anything to do before the thread sleeps: some microseconds, in which the next packet
  /// of a stream usually comes.
  private static let idleTurns = 100
  /// Turns between two looks at the mail while packets move: a look is a system call.
  private static let turnsWithoutMail = 64
  /// How long the thread sleeps while there is more to do about the mail, nanoseconds.
  private static let mailPause: UInt64 = 10_000_000

  /// How long the thread sleeps at most where other processes wake it, nanoseconds.
  private static let longestSleep: UInt64 = 100_000_000

  /// - Parameters:
  ///   - doorbells: Where the thread sleeps, and whom it can wake. No other sleeper has them.
  ///   - mail: What is posted to this process.
  /// - Throws: ``NetmapError`` when there are no descriptors left.
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
  /// - Returns: What ``close(_:)`` takes.
  /// - Throws: ``NetmapError`` when no thread can be had.
  package func add(_ link: sending WorkerLink) throws(NetmapError) -> UInt64 {
    try serve(link)
  }

  /// The same for any task.
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

  /// The port behind a link has been closed. What it has sent is still delivered; then its end is called.
  package func close(_ number: UInt64) {
    changes.withLock { $0.closed.append(number) }
    tell()
  }

  /// Has the thread woken by a stranger, on the socket on which the worker rings it. The thread alone receives
  /// on it.
  package func watch(_ bell: PeerBell) {
    changes.withLock { $0.watched.append(bell) }
    tell()
  }

  /// The stranger has gone, or is to wake the thread no more.
  package func ignore(_ bell: PeerBell) {
    changes.withLock { $0.ignored.append(bell) }
    tell()
  }

  /// Ends the thread, soon. Links are not ended.
  package func stop() {
    changes.withLock { $0.isStopping = true }
    tell()
  }

  /// Has the thread look at everything again.
  package func wake() { tell() }

  private func tell() {
    changeCount.wrappingAdd(1, ordering: .sequentiallyConsistent)
    var one: UInt64 = 1
    _ = unsafe write(bell, &one, 8)
  }

  private func start() throws(NetmapError) {
    pthread_detach(try EngineThread.start("worker") { [self] in unsafe run(sleeper) })
  }

  // MARK: - On the thread

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
      // Descriptors or memory have run out; others may give some back.
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
