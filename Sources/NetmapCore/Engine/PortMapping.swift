extension Engine {
  /// Makes the data path of a binding, for use in the engine's own process.
  ///
  /// - Parameters:
  ///   - registration: The answer of ``register(_:)``.
  ///   - tag: The client in whose name syncs lock the rings.
  ///   - lane: The one ring of each direction to attach, where the binding has it; nil for all rings.
  /// - Returns: The data path. Its memory stays valid for as long as the object lives.
  /// - Throws: ``NetmapError`` when a backend cannot be attached.
  package func mapPort(
    _ registration: Registration, tag: ClientTag, lane: Int? = nil
  ) throws(NetmapError) -> MappedPort {
    let (vale, monitors) = try exclusively { (state) throws(NetmapError) in
      let port = state.bindings[registration.id]?.port
      return (port?.membership?.mapping, port?.monitors.table)
    }
    let port = unsafe try boundInterface(registration)
    var known: (any RingDriverMaker)?
    return unsafe try MappedPort(
      region: registration.region, segment: registration.segment,
      binding: registration.bindingIndex, tag: tag, doorbells: doorbells,
      defaults: registration.defaults, vale: vale, monitors: monitors, lane: lane,
      geometry: registration.geometry
    ) { (place, _) throws(NetmapError) in
      guard let port = unsafe port else { return unsafe .none }
      switch unsafe port.rings[place] {
      case .here(let ring): return unsafe RingDriver(ring: ring, owner: nil)
      case .anywhere(let recipe):
        let maker =
          if let known { known } else {
            unsafe try port.provider.ringDriverMaker(
              in: port.memory, named: registration.name.rawValue)
          }
        known = maker
        return unsafe try maker.ringDriver(of: recipe)
      }
    }
  }

  /// Everything that another process needs to sync the rings of a binding.
  ///
  /// - Parameter registration: The answer of ``register(_:)``. The binding must still exist.
  /// - Returns: Nil for a port that is not an interface: its registration is enough. Descriptors are valid until
  ///   the binding is released.
  /// - Throws: ``NetmapError`` `EOPNOTSUPP` for a backend that works in this process only.
  package func recipe(
    of registration: Registration
  ) throws(NetmapError) -> InterfaceRecipe? {
    guard let port = unsafe try boundInterface(registration) else { return nil }
    var result = unsafe InterfaceRecipe(memory: port.memory, rings: [])
    for index in unsafe port.rings.indices {
      guard case .anywhere(let ring) = unsafe port.rings[index] else {
        throw NetmapError(
          .unsupported, "attach", registration.name.rawValue,
          reason: "its backend works in one process only")
      }
      result.rings.append(ring)
    }
    return result
  }

  /// The interface of a binding; nil when the binding is not on an interface.
  private func boundInterface(
    _ registration: Registration
  ) throws(NetmapError) -> BoundInterface? {
    unsafe try exclusively { (state) throws(NetmapError) -> BoundInterface? in
      guard let binding = state.bindings[registration.id],
        case .interface(let backend) = binding.port.kind, let provider = state.interfaces
      else { return nil }
      var rings: [RingDriverSource] = unsafe []
      for direction in [Direction.transmit, .receive] {
        for index in binding.record.ranges[direction] {
          unsafe rings.append(
            try backend.driverSource(for: binding.port.ringPlacement(direction, index)))
        }
      }
      return unsafe BoundInterface(
        provider: provider, memory: try binding.port.region.portMemory, rings: rings)
    }
  }
}

/// A bound interface, for use outside the engine's lock.
@unsafe
private struct BoundInterface: @unchecked Sendable {
  let provider: any InterfaceProvider
  let memory: PortMemory
  /// The binding's transmit rings, then its receive rings.
  let rings: [RingDriverSource]
}
