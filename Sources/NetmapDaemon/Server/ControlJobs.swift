internal import NetmapClient
internal import NetmapCore

// What the control thread does, and what it answers.

extension ControlThread {
  /// A task for the thread.
  enum Job: Sendable {
    /// Binds rings in a network namespace; nil for the daemon's own.
    case register(ticket: UInt64, RegisterRequest, NamespaceFile?)
    /// Looks up a port's rings and memory, or the memory alone.
    case portInfo(ticket: UInt64, RegisterRequest?, memoryID: UInt16, NamespaceFile?)
    /// Looks up the pools of a port's memory.
    case poolsInfo(ticket: UInt64, RegisterRequest, NamespaceFile?)
    /// Ends a binding; see ``Engine/release(_:keepsViews:)``.
    case release(BindingID, keepsViews: Bool, NamespaceFile?, vale: UInt64? = nil)
    /// Tells the engine that no process can reach the rings of a released binding any more.
    case forget(BindingID)
    /// Decides a request about switches.
    ///
    /// The carrier is the daemon's own client, in whose name interfaces are attached.
    case switching(ticket: UInt64, SwitchRequest, NamespaceFile?, carrier: ClientTag? = nil)
    /// Gives an interface back when the worker no longer carries its packets.
    case endInterface(PortName, NamespaceFile?)
    /// Answers a request once all jobs before it are done.
    case finish(ticket: UInt64, Switched)
    /// Finishes the leases and exchanges that an ended client left unfinished, before the server
    /// releases its locks.
    case finishWork(ClientTag)
    /// Checks the memory of all ports.
    case check(ticket: UInt64)
    /// Lists the tunables, or sets one; `by` says who asks, for users.
    case tune(ticket: UInt64, TunableRequest, by: String)
    /// Copies the records and the memory that describe all ports.
    case dump(ticket: UInt64)
    /// Adds the server's records to a dump, and writes both into memory of their own.
    case encode(ticket: UInt64, CollectedDump, owners: [EngineDump.Owner])
    /// Connects the daemon to itself, by a socket of this name that becomes a client's token.
    case connect(ticket: UInt64, TokenName.Digits)
    /// Looks up the switch on which a module is to be loaded.
    case findSwitch(ticket: UInt64, String)
    /// Redirects the packets of a switch to a module host.
    case redirect(HostedPort)
    /// Reverts a decision to poll an interface that the server could not carry out.
    case forgetPolling(PortName)
  }

  /// The port of a module host.
  struct HostedPort: Sendable {
    let process: Int32
    let serial: UInt64
    let index: Int
    /// The name that the module gives itself.
    let name: String
    let choice: SwitchModuleChoice
  }

  /// The decision about a request about switches.
  struct Switched: @unchecked Sendable {
    let request: SwitchRequest
    let outcome: SwitchOutcome
    let namespace: NamespaceFile?
    /// For an attached interface, its ring pairs.
    ///
    /// They belong to the worker that carries the packets.
    var lanes: [MappedPort] = []
  }

  /// The result of a job, or an event for the server.
  enum Answer: Sendable {
    /// A port has left a switch.
    case left(vale: UInt64)
    /// Monitors of a set were closed, or their port was.
    case monitorsLeft(UInt64)
    /// The two ends of an isolated port, and the port behind it.
    case isolated(Result<Isolation.Opened, NetmapError>)
    /// The worker no longer uses its end of an isolated port.
    case linkEnded(BindingID)
    /// The worker no longer carries the packets of an interface on a switch.
    case interfaceEnded(PortName)
    /// The process for a module has been started, or could not be.
    case hostStarted(Result<HostProcess, NetmapError>)
    case switched(Result<Switched, NetmapError>)
    case registered(Result<Bound, NetmapError>)
    case portInfo(Result<PortInfo, NetmapError>)
    case poolsInfo(Result<PoolsInfo, NetmapError>)
    /// A request to attach an interface needs the worker, which does not exist yet.
    case needsCarrier(SwitchRequest, NamespaceFile?)
    case workFinished(ClientTag)
    case checked(CheckReport)
    case dumped(Result<CollectedDump, NetmapError>)
    case tuned(Result<[TunableState], NetmapError>)
    /// The memory with a dump; see ``DumpedBytes``.
    case encoded(Result<OwnedFile, NetmapError>)
    case connected(Result<OwnedFile, NetmapError>)
    case foundSwitch(Result<UInt64, NetmapError>)
    case redirected(Int32, Result<SwitchAnswer, NetmapError>)
    /// The result of checking a process that hung up; see ``LifeMark``.
    case looked(ClientTag, isGone: Bool)
  }

  /// A binding, and how another process makes its rings.
  struct Bound: Sendable {
    let registration: Registration
    /// Nil for ports that are not interfaces.
    let recipe: InterfaceRecipe?
  }
}
