public import Netmap
internal import NetmapCore

/// An engine for an application's own tests: its network interfaces exist in this process only.
///
/// Each interface has a wire, which is a port of the test. What the test sends on the wire, the interface receives, and
/// the other way round. Pipes, VALE switches and all rules of rings are those of `EmbeddedEngine`, so an application
/// that takes its engine as a parameter runs unchanged. The tests need no rights, no interface and no root.
///
/// ```swift
/// let engine = try LoopbackEngine(interfaces: ["eth0"])
/// let application = try NetmapPort("netmap:eth0", engine: engine)
/// let wire = try engine.wire(of: "eth0")
/// try wire.inject(request)
/// try wire.sync(.transmit)
/// ```
///
/// Frames wait in the wire until the other side syncs: at most 1024 in each direction of a ring pair. Further frames are
/// dropped, and counted as `ring_full` by the sender. Safe to use from any thread.
public final class LoopbackEngine: PortEngine {
  private let engine: EmbeddedEngine

  /// - Parameters:
  ///   - interfaces: The names of the interfaces, such as `eth0`.
  ///   - ringPairs: Number of transmit rings and of receive rings of each interface, at least 1.
  ///   - slots: Number of slots of each ring, at least 2.
  /// - Throws: `NetmapError` `EINVAL` for numbers out of range, or when memory or descriptors run out.
  public init(
    interfaces: [String], ringPairs: Int = 1, slots: Int = 256
  ) throws(NetmapError) {
    guard (1...64).contains(ringPairs), (2...16_384).contains(slots) else {
      throw NetmapError(
        .invalidArgument, "create", "loopback engine",
        reason: "\(ringPairs) ring pairs of \(slots) slots are out of range",
        remedy: "use 1 to 64 pairs of 2 to 16384 slots")
    }
    let geometry = PortGeometry(
      transmitRings: ringPairs, receiveRings: ringPairs, transmitSlots: slots, receiveSlots: slots)
    engine = try EmbeddedEngine(interfaces: LoopbackInterfaces(interfaces, geometry))
  }

  public var access: PortEngineAccess { engine.access }

  /// Opens the far end of an interface's wire.
  ///
  /// - Parameters:
  ///   - interface: The name of the interface, without `netmap:`.
  ///   - flags: As for any port.
  /// - Returns: A port whose ring pair `n` is connected to ring pair `n` of the interface.
  /// - Throws: `NetmapError` `ENXIO` when there is no such interface, and what opening a port throws.
  public func wire(
    of interface: String, flags: BindingFlags = []
  ) throws(NetmapError) -> NetmapPort {
    try NetmapPort(
      "netmap:\(interface)\(LoopbackInterfaces.wireSuffix)", flags: flags, engine: self)
  }
}
