internal import NetmapCore

/// The host rings of an open interface: the leg to its host stack, and the driver of the leg's far end.
///
/// Host ring pairs are numbered after the interface's own. Every call takes the number in the port, and comes under
/// the lock of the ``LinuxPort``.
final class HostRings {
  private let leg: any AttachedHostLeg
  private let driver: XDPDriver
  /// The number of the first host pair in the port.
  private let first: Int

  /// - Parameters:
  ///   - interface: The interface.
  ///   - geometry: The rings of the port.
  ///   - memory: The XDP sockets of the engine.
  /// - Throws: As ``InterfaceRights/hostLeg(for:pairs:)``.
  init(
    of interface: LinuxInterface, _ geometry: PortGeometry, _ memory: XDPMemory
  ) throws(NetmapError) {
    first = geometry.hardwarePairs
    leg = try interface.rights.hostLeg(
      for: interface, pairs: max(geometry.hostTransmitRings, geometry.hostReceiveRings))
    // The far end is a veth, whose driver runs XDP programs but has no zero-copy mode.
    driver = XDPDriver(leg.far, .copy, memory, isDemanded: true)
  }

  func activate(pair index: Int, of placement: PortPlacement) throws(NetmapError) {
    do throws(NetmapError) {
      unsafe try driver.activate(pair: index - first, of: placement.hostRings)
    } catch {
      // The reader knows neither the leg nor its far end.
      var refusal = NetmapError(
        error.code, error.operation, error.subject, reason: "host rings: \(error.reason)",
        remedy: error.remedy)
      refusal.patience = error.patience
      throw refusal
    }
  }

  func deactivate(pair index: Int) { driver.deactivate(pair: index - first) }

  func start(_ ring: RingPlacement) throws(NetmapError) {
    unsafe try driver.start(ring.hostRing(after: first))
  }

  func stop(_ ring: RingPlacement) { unsafe driver.stop(ring.hostRing(after: first)) }

  func recipe(for ring: RingPlacement) throws(NetmapError) -> RingDriverRecipe {
    unsafe try driver.recipe(for: ring.hostRing(after: first))
  }

  /// As ``AttachedHostLeg/connect(takesHostPackets:marks:)``.
  func connect(takesHostPackets: Bool, marks: Bool) throws(NetmapError) {
    try leg.connect(takesHostPackets: takesHostPackets, marks: marks)
  }

  /// The descriptors that keep the host connected after this process has ended.
  var held: [CInt] { leg.linkDescriptors }
}
