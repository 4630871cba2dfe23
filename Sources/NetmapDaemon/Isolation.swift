internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import Synchronization

/// Opens isolated ports: the daemon becomes a client of itself, which opens the port that a process asked
/// for and carries the packets between that and the memory which the process gets.
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

    init(_ address: DaemonAddress) throws(NetmapError) {
      connection = try DaemonConnection(address: address, starts: false)
      worker = try Worker(doorbells: connection.doorbells)
    }
  }

  private struct Job: Sendable {
    let ticket: UInt64
    let request: RegisterRequest
    let namespace: NamespaceFile?
  }

  private struct State {
    var jobs: [Job] = []
    var isRunning = false
  }

  private let engine: Engine
  private let address: DaemonAddress
  private let control: ControlThread
  private let state = Mutex(State())
  private let service = Mutex<Service?>(nil)

  init(_ engine: Engine, _ address: DaemonAddress, _ control: ControlThread) {
    self.engine = engine
    self.address = address
    self.control = control
  }

  /// Opens a port; the answer comes by the control thread's way.
  func open(
    ticket: UInt64, _ request: RegisterRequest, in namespace: NamespaceFile?
  ) throws(NetmapError) {
    let starts = state.withLock { state in
      state.jobs.append(Job(ticket: ticket, request: request, namespace: namespace))
      defer { state.isRunning = true }
      return !state.isRunning
    }
    guard starts else { return }
    do throws(NetmapError) {
      try start()
    } catch {
      state.withLock { state in
        state.isRunning = false
        state.jobs.removeAll { $0.ticket == ticket }
      }
      throw error
    }
  }

  /// The daemon's slot as a client of its own; nil as long as there is no isolated port.
  var tag: ClientTag? { service.withLock { $0?.connection.tag } }

  /// Another doorbell of the worker; nil when descriptors have run out.
  func makeBell() -> OwnedFile? {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard file >= 0, let worker = service.withLock({ $0?.worker }) else { return nil }
    let bell = OwnedFile(file)
    worker.watch(file)
    return bell
  }

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
      let result: Result<Opened, NetmapError>
      do throws(NetmapError) {
        result = .success(try open(job, home))
      } catch {
        result = .failure(error)
      }
      control.answer(job.ticket, .isolated(result))
    }
  }

  private func open(_ job: Job, _ home: NamespaceFile?) throws(NetmapError) -> Opened {
    let service = try self.service.withLock { (known) throws(NetmapError) -> Service in
      if let known { return known }
      let made = try Service(address)
      known = made
      return made
    }
    let request = try job.request.insideRequest()
    let inside = try NamespaceFile.within(job.namespace, home: home) { () throws(NetmapError) in
      try service.connection.register(request)
    }
    do throws(NetmapError) {
      let attached = try inside.attach(service.connection)
      return Opened(
        pair: try engine.registerIsolated(job.request, like: inside.registration), inside: inside,
        attached: attached, service: service)
    } catch {
      service.connection.forget(inside.registration)
      inside.token.close()
      throw error
    }
  }
}
