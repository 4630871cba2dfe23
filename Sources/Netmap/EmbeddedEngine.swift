internal import Glibc
package import NetmapCore
internal import NetmapLinuxSetup

/// An engine in this process: it plays the part that netmap leaves to the kernel.
///
/// Ports meet each other (the two ends of a pipe, say) when they are opened on the same engine. Most
/// programs never mention one: ports are opened on ``shared``. Separate engines are separate
/// worlds, which suits tests. Nothing needs to be installed, and no privilege is needed.
///
/// Safe to use from any thread. An engine lives until its last port has been closed. A child made by
/// fork(2) is not part of it: ports opened before the fork refuse to work there, with `EBADF`.
public final class EmbeddedEngine: PortEngine {
  let engine: Engine

  /// Makes an engine of its own.
  ///
  /// - Throws: ``NetmapError`` when there is no memory or descriptor left for it.
  public init() throws(NetmapError) {
    engine = try Engine(interfaces: LinuxInterfaces())
  }

  /// Makes an engine that finds interfaces, or drives them, in another way than the usual one.
  package init(interfaces: some InterfaceProvider) throws(NetmapError) {
    engine = try Engine(interfaces: interfaces)
  }

  private static let sharedResult = Result { () throws(NetmapError) in try EmbeddedEngine() }

  /// The engine of this process, made at first use.
  ///
  /// - Throws: ``NetmapError`` when it could not be made; the same error every time.
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
    if request.flags.contains(.isolated) { return try openIsolated(request) }
    let registration = try register(request)
    do throws(NetmapError) {
      // Every port is a client of its own: only so can two ports of one process share a ring.
      let tag = try addClient(process: getpid())
      do throws(NetmapError) {
        let attached = try attach(registration, tag: tag)
        // No other process has its memory mapped.
        attached.allowIndirect(.all)
        return PortBinding(
          registration, attached, doorbells,
          end: { [self] keepsViews in
            release(registration.id, keepsViews: keepsViews)
            removeClient(tag)
            // Senders may have waited for room in it.
            if registration.place != nil { wakeHeldSenders() }
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

  func load(_ choice: SwitchModuleChoice, on bridge: String) throws(NetmapError) -> SwitchAnswer {
    try loadModule(choice, on: bridge)
  }

  func memoryID(of request: RegisterRequest) throws(NetmapError) -> UInt16 {
    try portInfo(request).memoryID
  }
}

/// A port that is open on an engine.
public struct OpenPort: Hashable, Sendable {
  public let name: String
  public let geometry: PortGeometry
  /// The region its buffers lie in; ports with the same number can exchange buffers.
  public let memoryID: UInt16
  /// How many times it is open.
  public let openCount: Int
}
