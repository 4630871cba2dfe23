internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// The thread that opens and closes ports, one request after the other.
///
/// Loading a program, or waiting for a queue that the kernel has not given back yet, takes
/// milliseconds. The server's own thread must serve all clients meanwhile.
///
/// The thread decides requests in the order in which they were put, so a request that comes after a
/// release sees its effect. A request that waits for a resource lets others pass.
final class ControlThread: Sendable {
  private struct State {
    var jobs: [Job] = []
    var answers: [(ticket: UInt64, answer: Answer)] = []
    var isStopping = false
    /// The number of jobs put so far.
    var putCount: UInt64 = 0
  }

  /// The state of the engine that the server needs without waiting: while the engine opens an
  /// interface, it is busy.
  private struct Snapshot {
    /// The ports of switches, by switch and index.
    var neighbours: [UInt64: [Int: SwitchNeighbour]] = [:]
    /// The monitors of ports, by set and index.
    var monitors: [UInt64: [Int: SwitchNeighbour]] = [:]
    /// Whether a client may be exchanging buffers with a monitor that was closed, or through a port that was.
    var holdsRings = false
    /// The switches that have other ports than those of module hosts.
    var populated: Set<UInt64> = []
    var holdsPorts = false
  }

  /// A job that may succeed a little later.
  private struct Waiting {
    let job: Job
    /// When the thread first tried the job.
    let since: UInt64
    var next: UInt64
  }

  /// The pause between two tries of a waiting job, nanoseconds.
  private static let pause: UInt64 = 10_000_000

  /// How the thread connects the daemon to itself.
  typealias TokenMaker = @Sendable (TokenName.Digits) throws(NetmapError) -> OwnedFile

  let engine: Engine
  private let own: NamespaceFile?
  private let makeToken: TokenMaker
  private let state = Mutex(State())
  private let snapshot = Mutex(Snapshot())
  private let jobsBell: OwnedFile
  private let answersBell: OwnedFile
  /// The number of jobs that are done, or were tried once and wait.
  private let triedCount = Atomic<UInt64>(0)
  private nonisolated(unsafe) var thread = pthread_t()

  /// Readable while there are answers to take.
  var descriptor: CInt { answersBell.descriptor }

  /// - Parameters:
  ///   - engine: The engine that decides requests.
  ///   - home: The daemon's network namespace.
  ///   - makeToken: Connects the daemon to itself.
  /// - Throws: ``NetmapError`` when there are no descriptors or threads left.
  init(
    _ engine: Engine, home: NamespaceFile?, makeToken: @escaping TokenMaker
  ) throws(NetmapError) {
    self.engine = engine
    own = home
    self.makeToken = makeToken
    jobsBell = OwnedFile(try Self.bell())
    answersBell = OwnedFile(try Self.bell())
    unsafe thread = try EngineThread.start("netmapd") { [self] in run() }
  }

  private static func bell() throws(NetmapError) -> CInt {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard file >= 0 else { throw systemError("eventfd", "netmapd") }
    return file
  }

  private static func ring(_ bell: OwnedFile) {
    var one: UInt64 = 1
    _ = unsafe write(bell.descriptor, &one, 8)
  }

  private static func silence(_ bell: OwnedFile) {
    var count: UInt64 = 0
    _ = unsafe read(bell.descriptor, &count, 8)
  }

  /// Queues a job without waiting for its result.
  func put(_ job: Job) {
    state.withLock { state in
      state.jobs.append(job)
      state.putCount += 1
    }
    Self.ring(jobsBell)
  }

  /// Whether all jobs put so far are done, or were tried once and wait.
  var isUpToDate: Bool {
    state.withLock(\.putCount) == triedCount.load(ordering: .acquiring)
  }

  // MARK: - Published state

  /// The ports on a switch, or the monitors of a set, as of the last decided request.
  func neighbours(on serial: UInt64) -> [Int: SwitchNeighbour] {
    snapshot.withLock { $0.neighbours[serial] ?? $0.monitors[serial] ?? [:] }
  }

  /// Whether the switch had other ports than those of module hosts, as of the last decided request.
  func hasPorts(_ serial: UInt64) -> Bool {
    snapshot.withLock { $0.populated.contains(serial) }
  }

  /// Whether the engine held a port that no process has open, as of the last decided request.
  var holdsPorts: Bool { snapshot.withLock(\.holdsPorts) }

  /// Publishes the state of one switch after a job that may have changed it.
  ///
  /// Runs on the thread.
  private func publish(_ serial: UInt64) {
    let ports = engine.neighbours(on: serial)
    let isPopulated = engine.hasPorts(serial)
    snapshot.withLock { snapshot in
      snapshot.neighbours[serial] =
        ports.isEmpty ? nil : Dictionary(ports.map { ($0.index, $0) }) { $1 }
      if isPopulated {
        snapshot.populated.insert(serial)
      } else {
        snapshot.populated.remove(serial)
      }
    }
  }

  /// Whether a client may be exchanging buffers with a monitor that was closed, as of the last decided request.
  var holdsRings: Bool { snapshot.withLock { $0.holdsRings } }

  /// Publishes the monitors of all ports, after a job that may have changed them.
  ///
  /// - Returns: The sets of monitors that have changed.
  @discardableResult
  private func publishMonitors() -> [UInt64] {
    let monitors = engine.monitors
    let holdsRings = engine.holdsRings
    return snapshot.withLock { snapshot in
      defer { (snapshot.monitors, snapshot.holdsRings) = (monitors, holdsRings) }
      return Set(monitors.keys).union(snapshot.monitors.keys).filter { serial in
        monitors[serial]?.mapValues(\.generation)
          != snapshot.monitors[serial]?.mapValues(\.generation)
      }
    }
  }

  /// Publishes the state of all switches.
  private func publishAll() {
    let known = snapshot.withLock { Array($0.neighbours.keys) }
    for serial in Set(known).union(engine.switchSerials) { publish(serial) }
    let holdsPorts = engine.holdsPorts
    snapshot.withLock { $0.holdsPorts = holdsPorts }
  }

  /// Takes all answers that have come since the last call.
  func takeAnswers() -> [(ticket: UInt64, answer: Answer)] {
    Self.silence(answersBell)
    return state.withLock { state in
      defer { state.answers = [] }
      return state.answers
    }
  }

  /// Lets the thread finish the jobs that have been put, and waits for its end.
  func stop() {
    state.withLock { $0.isStopping = true }
    Self.ring(jobsBell)
    unsafe pthread_join(thread, nil)
  }

  // MARK: - On the thread

  private func run() {
    var waiting: [Waiting] = []
    var settlingPause = Self.pause
    while true {
      let (jobs, isStopping) = state.withLock { state in
        defer { state.jobs = [] }
        return (state.jobs, state.isStopping)
      }
      for job in jobs {
        attempt(job, since: monotonicNanoseconds(), &waiting)
        triedCount.wrappingAdd(1, ordering: .releasing)
      }
      let now = monotonicNanoseconds()
      let due = waiting.filter { $0.next <= now }
      waiting.removeAll { $0.next <= now }
      for entry in due { attempt(entry.job, since: entry.since, &waiting) }
      if isStopping { return }
      guard jobs.isEmpty else { continue }
      let settlesAt = settleMonitors(&settlingPause)
      var entry = pollfd(fd: jobsBell.descriptor, events: Int16(POLLIN), revents: 0)
      let next = (waiting.map(\.next) + (settlesAt.map { [$0] } ?? [])).min()
      let pause = next.map {
        CInt(clamping: ($0 - min($0, monotonicNanoseconds())) / 1_000_000 + 1)
      }
      _ = unsafe poll(&entry, 1, pause ?? -1)
      Self.silence(jobsBell)
    }
  }

  /// Has syncs take notice of new monitors whose rings were locked.
  ///
  /// - Parameter pause: The time until the next try, nanoseconds. It doubles with each failure, up to about a second,
  ///   because a process may be stopped in the middle of a sync.
  /// - Returns: When to try again, monotonic nanoseconds; nil when there is no such ring.
  private func settleMonitors(_ pause: inout UInt64) -> UInt64? {
    if engine.settleMonitors() {
      pause = Self.pause
      return nil
    }
    defer { pause = min(2 * pause, 100 * Self.pause) }
    return monotonicNanoseconds() + pause
  }

  /// Tries a job, and adds it to `waiting` if it may succeed later.
  private func attempt(_ job: Job, since start: UInt64, _ waiting: inout [Waiting]) {
    switch job {
    case .register(let ticket, let request, let namespace):
      do throws(NetmapError) {
        let bound = try NamespaceFile.within(namespace, home: own) { () throws(NetmapError) in
          try bind(request)
        }
        if let place = bound.registration.place { publish(place.serial) }
        if bound.registration.monitored != nil { publishMonitors() }
        answer(ticket, .registered(.success(bound)))
      } catch {
        guard error.mayPass(since: start) else {
          return answer(ticket, .registered(.failure(error)))
        }
        waiting.append(
          Waiting(job: job, since: start, next: monotonicNanoseconds() + Self.pause))
      }
    case .portInfo(let ticket, let request, let memoryID, let namespace):
      answer(
        ticket,
        .portInfo(
          outcome(in: namespace) { () throws(NetmapError) in
            try engine.portInfo(request, memoryID: memoryID)
          }))
    case .poolsInfo(let ticket, let request, let namespace):
      answer(
        ticket,
        .poolsInfo(
          outcome(in: namespace) { () throws(NetmapError) in try engine.poolsInfo(request) }))
    case .release(let id, let keepsViews, let namespace, let vale):
      // Enter the interface's namespace: state that does not vanish by itself is removed from the
      // interface there.
      do throws(NetmapError) {
        try NamespaceFile.within(namespace, home: own) {
          engine.release(id, keepsViews: keepsViews)
        }
      } catch {
        engine.release(id, keepsViews: keepsViews)
      }
      if let vale {
        publish(vale)
        answer(0, .left(vale: vale))
      }
      for set in publishMonitors() { answer(0, .monitorsLeft(set)) }
    case .forget(let id): engine.forget(id)
    case .switching(let ticket, let request, let namespace, let carrier):
      if carrier == nil, case .attach(let register) = request,
        !engine.needsNoCarrier(register.name)
      {
        return answer(ticket, .needsCarrier(request, namespace))
      }
      do throws(NetmapError) {
        let switched = try NamespaceFile.within(namespace, home: own) { () throws(NetmapError) in
          try decide(request, namespace, carrier)
        }
        if request.isChange { publishAll() }
        answer(ticket, .switched(.success(switched)))
      } catch {
        guard error.mayPass(since: start) else {
          return answer(ticket, .switched(.failure(error)))
        }
        waiting.append(
          Waiting(job: job, since: start, next: monotonicNanoseconds() + Self.pause))
      }
    case .endInterface(let name, let namespace):
      let vale: UInt64?
      do throws(NetmapError) {
        vale = try NamespaceFile.within(namespace, home: own) { engine.endInterface(name) }
      } catch {
        vale = engine.endInterface(name)
      }
      publishAll()
      if let vale { answer(0, .left(vale: vale)) }
    case .finish(let ticket, let switched): answer(ticket, .switched(.success(switched)))
    case .finishWork(let tag):
      engine.finishLeases(of: tag)
      engine.finishExchanges(of: tag)
      engine.releaseMonitorLocks(of: tag)
      answer(0, .workFinished(tag))
    case .tune(let ticket, let request, let asker):
      do throws(NetmapError) {
        answer(ticket, .tuned(.success(try engine.answer(request, by: asker))))
      } catch {
        answer(ticket, .tuned(.failure(error)))
      }
    case .check(let ticket): answer(ticket, .checked(engine.check()))
    case .dump(let ticket):
      do throws(NetmapError) {
        answer(ticket, .dumped(.success(CollectedDump(try engine.dump()))))
      } catch {
        answer(ticket, .dumped(.failure(error)))
      }
    case .encode(let ticket, let dump, let owners):
      do throws(NetmapError) {
        answer(ticket, .encoded(.success(try dump.encode(with: owners))))
      } catch {
        answer(ticket, .encoded(.failure(error)))
      }
    case .connect(let ticket, let name):
      do throws(NetmapError) {
        answer(ticket, .connected(.success(try makeToken(name))))
      } catch {
        answer(ticket, .connected(.failure(error)))
      }
    case .findSwitch(let ticket, let name):
      do throws(NetmapError) {
        answer(ticket, .foundSwitch(.success(try engine.serial(ofSwitch: name))))
      } catch {
        answer(ticket, .foundSwitch(.failure(error)))
      }
    case .redirect(let port):
      do throws(NetmapError) {
        let reply = try engine.redirect(
          port.serial, to: port.index, name: port.name, process: port.process, as: port.choice)
        answer(0, .redirected(port.process, .success(reply)))
      } catch {
        answer(0, .redirected(port.process, .failure(error)))
      }
    case .forgetPolling(let name): engine.forgetPolling(of: name)
    }
  }

  private func outcome<R>(
    in namespace: NamespaceFile?, _ body: () throws(NetmapError) -> R
  ) -> Result<R, NetmapError> {
    do throws(NetmapError) {
      return .success(try NamespaceFile.within(namespace, home: own, body))
    } catch {
      return .failure(error)
    }
  }

  private func bind(_ request: RegisterRequest) throws(NetmapError) -> Bound {
    let registration = try engine.attempt(request)
    do throws(NetmapError) {
      return Bound(
        registration: registration, recipe: try engine.recipe(of: registration))
    } catch {
      engine.release(registration.id)
      throw error
    }
  }

  /// Sends an answer to the server's thread.
  ///
  /// May be called from any thread.
  func answer(_ ticket: UInt64, _ answer: Answer) {
    state.withLock { $0.answers.append((ticket, answer)) }
    Self.ring(answersBell)
  }
}
