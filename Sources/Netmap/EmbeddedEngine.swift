internal import Glibc
package import NetmapCore

/// An engine in this process, which does the work that netmap leaves to the kernel.
///
/// Ports meet each other (the two ends of a pipe, for example) only when they are opened on the
/// same engine. Most programs never mention an engine: ``NetmapPort`` opens its ports on ``shared()`` by
/// default. Separate engines share nothing, which suits tests. An engine needs no installation and
/// no privilege.
///
/// Safe to use from any thread. An open port keeps its engine alive. A fork(2) child is not part of
/// the engine: syncs and waits on ports that were opened before the fork throw `EBADF` there.
public final class EmbeddedEngine: PortEngine {
  let engine: Engine

  /// Creates an engine that shares nothing with other engines.
  ///
  /// `$NETMAP_BUFFERS`, `$NETMAP_RINGS` and `$NETMAP_INTERFACES` set the size of the memory that its network interfaces
  /// share, as for netmapd(8).
  ///
  /// - Throws: ``NetmapError`` when memory or descriptors run out, `EINVAL` when one of these variables is not a
  ///   number in range.
  public init() throws(NetmapError) {
    var tunables = Tunables()
    try tunables.set(
      try .fromEnvironment(), by: ("$NETMAP_BUFFERS", "$NETMAP_RINGS", "$NETMAP_INTERFACES"))
    engine = try Engine(interfaces: LocalInterfaces.provider, tunables: tunables)
  }

  /// Creates an engine with another provider of network interfaces than Linux's.
  package init(interfaces: some InterfaceProvider) throws(NetmapError) {
    engine = try Engine(interfaces: interfaces)
  }

  private static let sharedResult = Result { () throws(NetmapError) in try EmbeddedEngine() }

  /// The engine that this process uses by default, created at first use.
  ///
  /// - Throws: ``NetmapError`` when the engine could not be created; every call throws the same
  ///   error.
  public static func shared() throws(NetmapError) -> EmbeddedEngine {
    try sharedResult.get()
  }

  public var access: PortEngineAccess { PortEngineAccess(provider: engine) }

  /// The ports that are open on this engine now.
  public var ports: [OpenPort] {
    engine.directory.entries.map {
      OpenPort(
        name: $0.name, geometry: $0.geometry, memoryID: $0.memoryID, openCount: $0.bindings)
    }
  }
}

extension Engine: BindingProvider {
  func open(_ request: RegisterRequest) throws(NetmapError) -> PortBinding {
    if request.extensions.contains(.isolated) { return try openIsolated(request) }
    let registration = try register(request)
    do throws(NetmapError) {
      // Each port is a separate client: only then can two ports of one process share a ring.
      let tag = try addClient(process: getpid())
      do throws(NetmapError) {
        let mapped = try mapPort(registration, tag: tag)
        // No other process maps this memory, so no other process can have written an address into a
        // slot.
        mapped.allowIndirect(.all)
        return PortBinding(
          registration, mapped, doorbells,
          end: { [self] keepsViews in
            release(registration.id, keepsViews: keepsViews)
            removeClient(tag)
            // Senders may be waiting for room in this port.
            if registration.place != nil { wakeHeldSenders() }
            wakeStoppedMonitors(of: registration.monitors)
          }, forget: { [self] in forget(registration.id) })
      } catch {
        removeClient(tag)
        throw error
      }
    } catch {
      release(registration.id)
      throw error
    }
  }

  func load(_ choice: SwitchModuleChoice, on vale: String) throws(NetmapError) -> SwitchAnswer {
    try loadModule(choice, on: vale)
  }

  func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16 {
    try portInfo(request).memoryID
  }
}

/// A port that is open on an engine.
public struct OpenPort: Hashable, Sendable {
  public let name: String
  public let geometry: PortGeometry
  /// The number of the region that holds the port's buffers; ports with the same number can
  /// exchange buffers.
  public let memoryID: UInt16
  /// How many bindings the port has now.
  public let openCount: Int
}
