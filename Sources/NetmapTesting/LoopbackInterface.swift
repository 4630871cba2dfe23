internal import NetmapCore

/// The interfaces of a ``LoopbackEngine``, and the far ends of their wires.
struct LoopbackInterfaces: InterfaceProvider {
  /// What the name of a wire's far end adds to the interface's name.
  static let wireSuffix = ".wire"

  private let interfaces: [String: LoopbackInterface]

  init(_ names: [String], _ geometry: PortGeometry) {
    var interfaces: [String: LoopbackInterface] = [:]
    for name in names {
      let wires = (0..<geometry.transmitRings).map { _ in (LoopbackQueue(), LoopbackQueue()) }
      interfaces[name] = LoopbackInterface(
        geometry, wires.map { LoopbackEnd(sends: $0.0, receives: $0.1) })
      interfaces[name + Self.wireSuffix] = LoopbackInterface(
        geometry, wires.map { LoopbackEnd(sends: $0.1, receives: $0.0) })
    }
    self.interfaces = interfaces
  }

  func open(
    _ name: String, backend: PortSpecification.BackendChoice?
  ) throws(NetmapError) -> (any InterfaceBackend)? {
    guard let interface = interfaces[name], !interface.isRemoved else { return nil }
    return interface
  }

  func remove(_ name: String) { interfaces[name]?.remove() }
}

/// One end of the wires of an interface: a ring pair for each wire.
final class LoopbackInterface: InterfaceBackend {
  var supportsOffsets: Bool { true }
  let geometry: PortGeometry
  let backendDescription = BackendDescription(name: "loopback", mode: "")
  private let ends: [LoopbackEnd]

  init(_ geometry: PortGeometry, _ ends: [LoopbackEnd]) {
    self.geometry = geometry
    self.ends = ends
  }

  func remove() { for end in ends { end.remove() } }

  var isRemoved: Bool { ends.contains { $0.isRemoved } }

  func activate(pair index: Int, of placement: PortPlacement) {}

  func deactivate(pair index: Int) { ends[index].giveBack() }

  func driverSource(for ring: RingPlacement) -> RingDriverSource {
    let end = unsafe ends[ring.index]
    unsafe end.place(ring)
    // The provider keeps the end for as long as the engine lives.
    let context = unsafe Unmanaged.passUnretained(end).toOpaque()
    return unsafe .here(
      ring.direction == .transmit
        ? RingDriverFunction(context: context, synchronize: loopbackTransmit)
        : RingDriverFunction(context: context, synchronize: loopbackReceive))
  }
}

private func loopbackTransmit(
  _ context: UnsafeMutableRawPointer?, _ ring: UnsafeRawPointer, _ head: UInt32, _ flags: UInt32
) -> Int32 {
  let isDone = unsafe end(context)?.transmit(MappedRing(calledWith: ring), upTo: head)
  return isDone == false ? NetmapError.Code.inputOutput.rawValue : 0
}

private func loopbackReceive(
  _ context: UnsafeMutableRawPointer?, _ ring: UnsafeRawPointer, _ head: UInt32, _ flags: UInt32
) -> Int32 {
  let isDone = unsafe end(context)?.receive(MappedRing(calledWith: ring), upTo: head)
  return isDone == false ? NetmapError.Code.inputOutput.rawValue : 0
}

private func end(_ context: UnsafeMutableRawPointer?) -> LoopbackEnd? {
  unsafe context.map { unsafe Unmanaged<LoopbackEnd>.fromOpaque($0).takeUnretainedValue() }
}
