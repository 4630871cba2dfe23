internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// Opens isolated ports, and owns the worker, which carries the packets of these ports and of
/// interfaces on switches.
///
/// For an isolated port, the daemon is a client of itself: it opens the port that a process asked
/// for, and copies packets between that port and the memory that the process gets.
///
/// Interfaces, pipes and switches are all opened in the same way, by the requests that any client
/// sends. This class sends them on a thread of its own, because the server's thread answers them.
final class Isolation: Sendable {
  /// An isolated port that has been opened, before the server records it.
  struct Opened: @unchecked Sendable {
    let pair: IsolatedPair
    let inside: NetmapClient.Opened
    /// The worker's view of the port.
    ///
    /// It goes to the link, which only the worker's thread uses.
    let mapped: MappedPort
    let service: Service
  }

  /// The daemon as a client of itself, and its worker.
  final class Service: Sendable {
    let connection: DaemonConnection
    let worker: Worker

    init(_ address: DaemonAddress, _ own: OwnConnections) throws(NetmapError) {
      let way = DaemonConnection.Way(
        connect: { (_) throws(NetmapError) in try own.connect() },
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
    /// Opens an isolated port: the process's request, and the worker's request for the port behind
    /// it.
    case open(RegisterRequest, inside: RegisterRequest)
    /// Starts the worker, then passes the request to the control thread.
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

  /// Opens an isolated port.
  ///
  /// The answer goes to the server through the control thread's queue of answers.
  ///
  /// - Parameters:
  ///   - ticket: The ticket of the request.
  ///   - request: The process's request.
  ///   - inside: The worker's request for the port behind it.
  ///   - namespace: The network namespace in which to look up interfaces; nil for the daemon's own.
  /// - Throws: ``NetmapError`` when no thread can be started.
  func open(
    ticket: UInt64, _ request: RegisterRequest, as inside: RegisterRequest,
    in namespace: NamespaceFile?
  ) throws(NetmapError) {
    try put(Job(ticket: ticket, work: .open(request, inside: inside), namespace: namespace))
  }

  /// Passes a request to attach an interface to the control thread, in the worker's name.
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

  /// The daemon's tag as a client of itself; nil as long as it is not one.
  var tag: ClientTag? { current?.connection.tag }

  /// The daemon's own client and worker; nil as long as they are not needed.
  var current: Service? { service.withLock { $0 } }

  private func start() throws(NetmapError) {
    pthread_detach(try EngineThread.start("netmapd") { [self] in run() })
  }

  /// Does all queued jobs, then ends the thread.
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

  /// The daemon's own client and worker, made on first use.
  ///
  /// Only this thread makes them. It does so without holding the lock, as the server reads
  /// ``current`` while it answers the hello.
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
      let mapped = try inside.mapPort(service.connection)
      return Opened(
        pair: try engine.registerIsolated(asked, like: inside.registration), inside: inside,
        mapped: mapped, service: service)
    } catch {
      service.connection.forget(inside.registration)
      inside.token.close()
      throw error
    }
  }
}

extension NetmapError {
  /// The same error with the port's name replaced by the name that the client asked for.
  fileprivate func renaming(_ name: PortName, _ asked: PortName) -> NetmapError {
    guard name != asked else { return self }
    func renamed(_ text: String) -> String { text.replacing(name.rawValue, with: asked.rawValue) }
    return NetmapError(
      code, operation, renamed(subject), reason: renamed(reason), remedy: renamed(remedy))
  }
}
