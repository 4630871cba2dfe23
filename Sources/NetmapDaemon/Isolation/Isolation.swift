internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// Opens isolated ports, and has the worker that carries their packets and those of interfaces on switches.
///
/// For an isolated port the daemon becomes a client of itself, which opens the port that a process asked for
/// and carries the packets between that and the memory which the process gets.
///
/// As a client of its own it needs nothing that other clients do not have: interfaces, pipes and switches
/// are reached in the same way. It asks on a thread of its own, because the server answers.
final class Isolation: Sendable {
  /// An isolated port that is to be booked.
  struct Opened: @unchecked Sendable {
    let pair: IsolatedPair
    let inside: NetmapClient.Opened
    /// Handed over to the link, which the worker's thread alone uses.
    let attached: AttachedPort
    let service: Service
  }

  /// The daemon as a client, and its worker.
  final class Service: Sendable {
    let connection: DaemonConnection
    let worker: Worker

    init(_ address: DaemonAddress, _ own: OwnConnections) throws(NetmapError) {
      let way = DaemonConnection.Way(
        connect: { () throws(NetmapError) in try own.connect() },
        namespace: { (_) throws(NetmapError) in try NamespaceFile.asked() })
      connection = try DaemonConnection(address: address, way)
      worker = try Worker(doorbells: connection.doorbells, mail: connection.mail)
    }
  }

  private struct Job: Sendable {
    let ticket: UInt64
    let work: Work
    let namespace: NamespaceFile?
  }

  private enum Work: Sendable {
    /// What a process asked for, and what is opened for it.
    case open(RegisterRequest, inside: RegisterRequest)
    /// Has the control thread decide it once there is a worker.
    case attach(SwitchRequest)
  }

  private struct State {
    var jobs: [Job] = []
    var isRunning = false
  }

  private let engine: Engine
  private let address: DaemonAddress
  private let control: ControlThread
  private let own: OwnConnections
  private let state = Mutex(State())
  private let service = Mutex<Service?>(nil)

  init(
    _ engine: Engine, _ address: DaemonAddress, _ control: ControlThread, _ own: OwnConnections
  ) {
    self.engine = engine
    self.address = address
    self.control = control
    self.own = own
  }

  /// Opens a port; the answer comes by the control thread's way.
  ///
  /// - Parameters:
  ///   - ticket: The request's.
  ///   - request: What the process asked for.
  ///   - inside: The port that the worker opens for it.
  ///   - namespace: Where interfaces are looked up.
  /// - Throws: ``NetmapError`` when no thread can be had.
  func open(
    ticket: UInt64, _ request: RegisterRequest, as inside: RegisterRequest,
    in namespace: NamespaceFile?
  ) throws(NetmapError) {
    try put(Job(ticket: ticket, work: .open(request, inside: inside), namespace: namespace))
  }

  /// Has the control thread decide a request to attach an interface, in the worker's name.
  func attach(
    ticket: UInt64, _ request: SwitchRequest, in namespace: NamespaceFile?
  ) throws(NetmapError) {
    if let tag {
      return control.put(.switching(ticket: ticket, request, namespace, carrier: tag))
    }
    try put(Job(ticket: ticket, work: .attach(request), namespace: namespace))
  }

  private func put(_ job: Job) throws(NetmapError) {
    let starts = state.withLock { state in
      state.jobs.append(job)
      defer { state.isRunning = true }
      return !state.isRunning
    }
    guard starts else { return }
    do throws(NetmapError) {
      try start()
    } catch {
      state.withLock { state in
        state.isRunning = false
        state.jobs.removeAll { $0.ticket == job.ticket }
      }
      throw error
    }
  }

  /// The daemon's slot as a client of its own; nil as long as it need not be one.
  var tag: ClientTag? { current?.connection.tag }

  /// The worker, if there is one.
  var current: Service? { service.withLock { $0 } }

  private func start() throws(NetmapError) {
    pthread_detach(try EngineThread.start("netmapd") { [self] in run() })
  }

  /// Does what there is to do, and ends.
  private func run() {
    let home = NamespaceFile.current()
    while true {
      let job = state.withLock { state -> Job? in
        guard state.jobs.isEmpty else { return state.jobs.removeFirst() }
        state.isRunning = false
        return nil
      }
      guard let job else { return }
      switch job.work {
      case .open(let request, let inside):
        let result: Result<Opened, NetmapError>
        do throws(NetmapError) {
          result = .success(try open(request, as: inside, in: job.namespace, home))
        } catch {
          result = .failure(error.renaming(inside.name, request.name))
        }
        control.answer(job.ticket, .isolated(result))
      case .attach(let request):
        do throws(NetmapError) {
          let tag = try begin().connection.tag
          control.put(.switching(ticket: job.ticket, request, job.namespace, carrier: tag))
        } catch {
          control.answer(job.ticket, .switched(.failure(error)))
        }
      }
    }
  }

  /// The worker; made when it is first needed. Only this thread makes it, without the lock: the server, which
  /// answers, looks for it.
  private func begin() throws(NetmapError) -> Service {
    if let current { return current }
    let made = try Service(address, own)
    service.withLock { $0 = made }
    return made
  }

  private func open(
    _ asked: RegisterRequest, as port: RegisterRequest, in namespace: NamespaceFile?,
    _ home: NamespaceFile?
  ) throws(NetmapError) -> Opened {
    let service = try begin()
    let request = try port.insideRequest()
    let inside = try NamespaceFile.within(namespace, home: home) { () throws(NetmapError) in
      try service.connection.register(request)
    }
    do throws(NetmapError) {
      let attached = try inside.attach(service.connection)
      return Opened(
        pair: try engine.registerIsolated(asked, like: inside.registration), inside: inside,
        attached: attached, service: service)
    } catch {
      service.connection.forget(inside.registration)
      inside.token.close()
      throw error
    }
  }
}

extension NetmapError {
  /// The same error about a port that has another name for whoever asked.
  fileprivate func renaming(_ name: PortName, _ asked: PortName) -> NetmapError {
    guard name != asked else { return self }
    func renamed(_ text: String) -> String { text.replacing(name.rawValue, with: asked.rawValue) }
    return NetmapError(
      code, operation, renamed(subject), reason: renamed(reason), remedy: renamed(remedy))
  }
}
