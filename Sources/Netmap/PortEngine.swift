internal import NetmapClient
internal import NetmapCore

/// Opens ports: an ``EmbeddedEngine`` in this process, or the ``HostEngine`` that all processes of
/// the host share.
public protocol PortEngine: AnyObject, Sendable {
  /// Gives ports access to the engine; only this package implements engines.
  var access: PortEngineAccess { get }
}

/// Access of ports to an engine.
public struct PortEngineAccess: Sendable {
  let provider: any BindingProvider
}

/// The control calls that ports and switches make to an engine.
protocol BindingProvider: Sendable {
  /// Binds the rings that the request selects, and maps them into this process.
  func open(_ request: RegisterRequest) throws(NetmapError) -> PortBinding

  /// Answers a request about VALE switches.
  func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer

  /// Makes a switch use a module from a shared object.
  func load(_ choice: SwitchModuleChoice, on vale: String) throws(NetmapError) -> SwitchAnswer

  /// The number of the memory region that the port would get if it were opened.
  func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16
}

/// A binding from the point of view of the port that owns it.
final class PortBinding {
  let registration: Registration
  let mapped: MappedPort
  /// The doorbells of the threads that sleep on its rings.
  let doorbells: DoorbellTable
  /// The descriptor that keeps the binding open; nil where the binding cannot be passed to another
  /// process.
  let token: Token?
  private let end: (_ keepsViews: Bool) -> Void
  private let forget: () -> Void
  private var isOpen = true

  /// - Parameters:
  ///   - registration: The engine's answer to the request.
  ///   - mapped: The rings, mapped into this process.
  ///   - doorbells: The doorbells that sleeping threads wait on.
  ///   - token: Keeps the binding open, on an engine of several processes.
  ///   - end: Ends the binding. `keepsViews` says that the port object, and so views of its rings,
  ///     still exist.
  ///   - forget: Called when the port object is deallocated, if the binding was ended with views
  ///     kept.
  init(
    _ registration: Registration, _ mapped: MappedPort, _ doorbells: DoorbellTable,
    token: Token? = nil,
    end: @escaping (_ keepsViews: Bool) -> Void, forget: @escaping () -> Void
  ) {
    self.registration = registration
    self.mapped = mapped
    self.doorbells = doorbells
    self.token = token
    self.end = end
    self.forget = forget
  }

  /// Ends the binding; the memory stays mapped for the lifetime of this object.
  func close() {
    guard isOpen else { return }
    isOpen = false
    // Before the engine hears of it: an open socket in this process would keep the interface's
    // queue busy.
    mapped.detach()
    end(true)
  }

  /// Called when the port object is deallocated: no view of the rings exists any more.
  func finish() {
    if isOpen {
      mapped.detach()
      end(false)
    } else {
      forget()
    }
    isOpen = false
  }
}
