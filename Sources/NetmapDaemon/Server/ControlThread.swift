internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// The thread that opens and closes ports, one request after the other: loading a program, or waiting
/// for a queue that the kernel has not given back yet, takes milliseconds in which the server's own
/// thread must be there for everybody.
///
/// Requests are decided in the order in which they were put, so one that comes after a release sees its
/// effect; one that waits for something lets others pass.
final class ControlThread: Sendable {
  /// What to do.
  enum Job: Sendable {
    /// Binds rings, in a network namespace: nil for the daemon's own.
    case register(ticket: UInt64, RegisterRequest, NamespaceFile?)
    /// Looks a port's memory up.
    case portInfo(ticket: UInt64, RegisterRequest, NamespaceFile?)
    /// Ends a binding; see ``Engine/release(_:keepsViews:)``.
    case release(BindingID, keepsViews: Bool, NamespaceFile?, bridge: UInt64? = nil)
    /// Nobody can reach a released binding's rings any more.
    case forget(BindingID)
    /// Decides a request about switches; interfaces are attached in the name of a client of the daemon's own.
    case switching(ticket: UInt64, SwitchRequest, NamespaceFile?, carrier: ClientTag? = nil)
    /// Nobody carries the packets of an interface on a switch any more.
    case endInterface(PortName, NamespaceFile?)
    /// Answers a request when everything before it has been done.
    case finish(ticket: UInt64, Switched)
    /// Finishes what a client that has ended was filling and exchanging, before its locks are released.
    case finishWork(ClientTag)
    /// Looks through the memory of all ports.
    case check(ticket: UInt64)
    /// Looks for a switch on which a module is to be loaded.
    case findSwitch(ticket: UInt64, String)
    /// Has a switch work by a module's process.
    case redirect(HostedPort)
    /// Polling of an interface that was granted did not come about.
    case forgetPolling(PortName)
  }

  /// The port of a process that runs a module.
  struct HostedPort: Sendable {
    let process: Int32
    let serial: UInt64
    let index: Int
    /// The module's own.
    let name: String
    let choice: SwitchModuleChoice
  }

  /// What was decided about a request about switches.
  struct Switched: @unchecked Sendable {
    let request: SwitchRequest
    let outcome: SwitchOutcome
    let namespace: NamespaceFile?
    /// Of an interface that was attached: its ring pairs, handed over to whoever carries the packets.
    var lanes: [AttachedPort] = []
  }

  /// What came of it.
  enum Answer: Sendable {
    /// A port has left a switch.
    case left(bridge: UInt64)
    /// The ends of an isolated port, and the port it stands for.
    case isolated(Result<Isolation.Opened, NetmapError>)
    /// The worker has done with its end of an isolated port.
    case linkEnded(BindingID)
    /// Nobody carries the packets of an interface on a switch any more.
    case interfaceEnded(PortName)
    /// The process that is to run a module has been started.
    case hostStarted(Result<HostProcess, NetmapError>)
    case switched(Result<Switched, NetmapError>)
    case registered(Result<Bound, NetmapError>)
    case memory(Result<UInt16, NetmapError>)
    /// A request to attach an interface needs the worker, which there is not yet.
    case needsCarrier(SwitchRequest, NamespaceFile?)
    case workFinished(ClientTag)
    case checked(CheckReport)
    case foundSwitch(Result<UInt64, NetmapError>)
    case redirected(Int32, Result<SwitchAnswer, NetmapError>)
    /// A process that hung up was looked at; see ``LifeMark``.
    case looked(ClientTag, isGone: Bool)
  }

  /// A binding, and how its rings are made in another process.
  struct Bound: Sendable {
    let registration: Registration
    /// Nil for ports that are no interface.
    let attachment: InterfaceAttachment?
  }

  private struct State {
    var jobs: [Job] = []
    var answers: [(ticket: UInt64, answer: Answer)] = []
    var isStopping = false
    /// Jobs put so far.
    var putCount: UInt64 = 0
  }

  /// What the server must know of the engine without waiting for it: the engine is busy for as long as an
  /// interface is being opened.
  private struct Snapshot {
    /// Ports of switches, by switch and index.
    var neighbours: [UInt64: [Int: SwitchNeighbour]] = [:]
    /// Switches that have other ports than those of module hosts.
    var populated: Set<UInt64> = []
    var holdsPorts = false
  }

  /// A request that may be granted a little later.
  private struct Waiting {
    let job: Job
    /// When it was tried first.
    let since: UInt64
    var next: UInt64
  }

  /// How long a refusal that may pass is left alone before the next try, nanoseconds.
  private static let pause: UInt64 = 10_000_000

  private let engine: Engine
  private let own: NamespaceFile?
  private let state = Mutex(State())
  private let snapshot = Mutex(Snapshot())
  private let jobsBell: OwnedFile
  private let answersBell: OwnedFile
  /// Jobs done so far, or tried once and waiting.
  private let triedCount = Atomic<UInt64>(0)
  private nonisolated(unsafe) var thread = pthread_t()

  /// Readable when there are answers to take.
  var descriptor: CInt { answersBell.descriptor }

  /// - Parameters:
  ///   - engine: What decides.
  ///   - home: The daemon's network namespace.
  /// - Throws: ``NetmapError`` when there are no descriptors or threads left.
  init(_ engine: Engine, home: NamespaceFile?) throws(NetmapError) {
    self.engine = engine
    own = home
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

  /// Hands a job over. Never waits for it.
  func put(_ job: Job) {
    state.withLock { state in
      state.jobs.append(job)
      state.putCount += 1
    }
    Self.ring(jobsBell)
  }

  /// Whether everything that has been put so far has been done, or tried once.
  var isUpToDate: Bool {
    state.withLock(\.putCount) == triedCount.load(ordering: .acquiring)
  }

  // MARK: - What it has published

  /// The ports on a switch, as the last request that was decided left them.
  func neighbours(on serial: UInt64) -> [Int: SwitchNeighbour] {
    snapshot.withLock { $0.neighbours[serial] ?? [:] }
  }

  /// Whether a switch had other ports then than those of module hosts.
  func hasPorts(_ serial: UInt64) -> Bool {
    snapshot.withLock { $0.populated.contains(serial) }
  }

  /// Whether the engine held something then that nobody has open.
  var holdsPorts: Bool { snapshot.withLock(\.holdsPorts) }

  /// On the thread: publishes what a job may have changed of a switch.
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

  /// The same for all of them.
  private func publishAll() {
    let known = snapshot.withLock { Array($0.neighbours.keys) }
    for serial in Set(known).union(engine.switchSerials) { publish(serial) }
    let holdsPorts = engine.holdsPorts
    snapshot.withLock { $0.holdsPorts = holdsPorts }
  }

  /// Everything that has been decided.
  func takeAnswers() -> [(ticket: UInt64, answer: Answer)] {
    Self.silence(answersBell)
    return state.withLock { state in
      defer { state.answers = [] }
      return state.answers
    }
  }

  /// Does what has been put, and ends. Waits for the thread.
  func stop() {
    state.withLock { $0.isStopping = true }
    Self.ring(jobsBell)
    unsafe pthread_join(thread, nil)
  }

  // MARK: - On the thread

  private func run() {
    var waiting: [Waiting] = []
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
      var entry = pollfd(fd: jobsBell.descriptor, events: Int16(POLLIN), revents: 0)
      let next = waiting.map(\.next).min()
      let pause = next.map {
        CInt(clamping: ($0 - min($0, monotonicNanoseconds())) / 1_000_000 + 1)
      }
      _ = unsafe poll(&entry, 1, pause ?? -1)
      Self.silence(jobsBell)
    }
  }

  /// Does a job, or puts it among those that wait.
  private func attempt(_ job: Job, since start: UInt64, _ waiting: inout [Waiting]) {
    switch job {
    case .register(let ticket, let request, let namespace):
      do throws(NetmapError) {
        let bound = try NamespaceFile.within(namespace, home: own) { () throws(NetmapError) in
          try bind(request)
        }
        if let place = bound.registration.place { publish(place.serial) }
        answer(ticket, .registered(.success(bound)))
      } catch {
        guard error.mayPass(since: start) else {
          return answer(ticket, .registered(.failure(error)))
        }
        waiting.append(
          Waiting(job: job, since: start, next: monotonicNanoseconds() + Self.pause))
      }
    case .portInfo(let ticket, let request, let namespace):
      do throws(NetmapError) {
        let memory = try NamespaceFile.within(namespace, home: own) { () throws(NetmapError) in
          try engine.portInfo(request).memoryID
        }
        answer(ticket, .memory(.success(memory)))
      } catch {
        answer(ticket, .memory(.failure(error)))
      }
    case .release(let id, let keepsViews, let namespace, let bridge):
      // In the interface's namespace, because what cannot vanish by itself is taken off it there.
      do throws(NetmapError) {
        try NamespaceFile.within(namespace, home: own) {
          engine.release(id, keepsViews: keepsViews)
        }
      } catch {
        engine.release(id, keepsViews: keepsViews)
      }
      if let bridge {
        publish(bridge)
        answer(0, .left(bridge: bridge))
      }
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
      let bridge: UInt64?
      do throws(NetmapError) {
        bridge = try NamespaceFile.within(namespace, home: own) { engine.endInterface(name) }
      } catch {
        bridge = engine.endInterface(name)
      }
      publishAll()
      if let bridge { answer(0, .left(bridge: bridge)) }
    case .finish(let ticket, let switched): answer(ticket, .switched(.success(switched)))
    case .finishWork(let tag):
      engine.finishLeases(of: tag)
      engine.finishExchanges(of: tag)
      answer(0, .workFinished(tag))
    case .check(let ticket): answer(ticket, .checked(engine.check()))
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

  private func decide(
    _ request: SwitchRequest, _ namespace: NamespaceFile?, _ carrier: ClientTag?
  ) throws(NetmapError) -> Switched {
    var switched = Switched(
      request: request, outcome: try engine.decide(request), namespace: namespace)
    guard case .attached(let made) = switched.outcome else { return switched }
    do throws(NetmapError) {
      guard let carrier else {
        throw NetmapError(
          .init(rawValue: EAGAIN), "attach", made.name.rawValue,
          reason: "a persistent port of that name was removed meanwhile", remedy: "try again")
      }
      for lane in 0..<made.lanes {
        switched.lanes.append(try engine.attach(made.interface, tag: carrier, lane: lane))
      }
      return switched
    } catch {
      engine.endInterface(made.name)
      throw error
    }
  }

  private func bind(_ request: RegisterRequest) throws(NetmapError) -> Bound {
    let registration = try engine.attempt(request)
    do throws(NetmapError) {
      return Bound(
        registration: registration, attachment: try engine.attachment(of: registration))
    } catch {
      engine.release(registration.id)
      throw error
    }
  }

  /// Has the server told, on its own thread.
  func answer(_ ticket: UInt64, _ answer: Answer) {
    state.withLock { $0.answers.append((ticket, answer)) }
    Self.ring(answersBell)
  }
}
