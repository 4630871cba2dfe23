internal import NetmapClient
internal import NetmapCore

/// Where ports are opened: an ``EmbeddedEngine`` in this process, or the ``HostEngine`` that all
/// processes of the host share.
public protocol PortEngine: AnyObject, Sendable {
  /// How ports reach the engine. Only this package makes engines.
  var access: PortEngineAccess { get }
}

/// How ports reach an engine.
public struct PortEngineAccess: Sendable {
  let provider: any BindingProvider
}

/// What an engine does for ports.
protocol BindingProvider: Sendable {
  /// Binds the rings that the request selects, and maps them.
  func open(_ request: RegisterRequest) throws(NetmapError) -> PortBinding

  /// Answers a request about switches.
  func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer

  /// Has a switch work by a module from a shared object.
  func load(_ choice: SwitchModuleChoice, on bridge: String) throws(NetmapError) -> SwitchAnswer

  /// The memory region that a port would get.
  func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16
}

/// A binding as the port that holds it sees it.
final class PortBinding {
  let registration: Registration
  let attached: AttachedPort
  /// Doorbells of those who sleep for its rings.
  let doorbells: DoorbellTable
  /// What keeps the binding open, where it can be passed on.
  let token: Token?
  private let end: (_ keepsViews: Bool) -> Void
  private let forget: () -> Void
  private var isOpen = true

  /// - Parameters:
  ///   - registration: What the engine answered.
  ///   - attached: The rings as this process has them.
  ///   - doorbells: What sleepers wait on.
  ///   - token: What keeps the binding open, on an engine of several processes.
  ///   - end: Ends the binding; told whether somebody may still look at its rings.
  ///   - forget: Says that nobody can any more, after it was ended with views kept.
  init(
    _ registration: Registration, _ attached: AttachedPort, _ doorbells: DoorbellTable,
    token: Token? = nil,
    end: @escaping (_ keepsViews: Bool) -> Void, forget: @escaping () -> Void
  ) {
    self.registration = registration
    self.attached = attached
    self.doorbells = doorbells
    self.token = token
    self.end = end
    self.forget = forget
  }

  /// Ends the binding; the memory stays mapped as long as this object lives.
  func close() {
    guard isOpen else { return }
    isOpen = false
    // Before the engine hears of it: a socket that is still open here would keep its queue taken.
    attached.detach()
    end(true)
  }

  /// The last use of the object: nobody looks at the rings from now on.
  func finish() {
    if isOpen {
      attached.detach()
      end(false)
    } else {
      forget()
    }
    isOpen = false
  }
}
