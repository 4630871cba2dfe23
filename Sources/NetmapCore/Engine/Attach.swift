extension Engine {
  /// Makes the data path of a binding, for use in the engine's own process.
  ///
  /// - Parameters:
  ///   - registration: The answer of ``register(_:)``.
  ///   - tag: The client in whose name syncs lock the rings.
  ///   - stampsAlways: Whether receive syncs stamp their rings even if the application does not ask for it.
  ///   - lane: The one ring of each direction to attach, where the binding has it; nil for all rings.
  /// - Returns: The data path. Its memory stays valid for as long as the object lives.
  /// - Throws: ``NetmapError`` when a backend cannot be attached.
  package func attach(
    _ registration: Registration, tag: ClientTag, stampsAlways: Bool = true, lane: Int? = nil
  ) throws(NetmapError) -> AttachedPort {
    let bridge = try exclusively { (state) throws(NetmapError) in
      state.bindings[registration.id]?.port.membership?.attachment
    }
    let port = unsafe try boundInterface(registration)
    var halves: (any DataHalves)?
    return unsafe try AttachedPort(
      region: registration.region, segment: registration.segment,
      binding: registration.bindingIndex, tag: tag, doorbells: doorbells,
      stampsAlways: stampsAlways, bridge: bridge, lane: lane
    ) { (place, _) throws(NetmapError) in
      guard let port = unsafe port else { return unsafe .none }
      switch unsafe port.rings[place] {
      case .here(let ring): return unsafe DataHalf(ring: ring, owner: nil)
      case .anywhere(let attachment):
        let maker =
          if let halves { halves } else {
            unsafe try port.provider.dataHalves(in: port.memory, named: registration.name.rawValue)
          }
        halves = maker
        return unsafe try maker.dataHalf(of: attachment)
      }
    }
  }

  /// Everything that another process needs to sync the rings of a binding.
  ///
  /// - Parameter registration: The answer of ``register(_:)``. The binding must still exist.
  /// - Returns: Nil for a port that is not an interface: its registration is enough. Descriptors are valid until
  ///   the binding is released.
  /// - Throws: ``NetmapError`` `EOPNOTSUPP` for a backend that works in this process only.
  package func attachment(
    of registration: Registration
  ) throws(NetmapError) -> InterfaceAttachment? {
    guard let port = unsafe try boundInterface(registration) else { return nil }
    var result = unsafe InterfaceAttachment(memory: port.memory, rings: [])
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
      var rings: [RingAttachment] = unsafe []
      for direction in [Direction.transmit, .receive] {
        for index in binding.record.ranges[direction] {
          unsafe rings.append(try backend.attach(binding.port.ringPlacement(direction, index)))
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
  let rings: [RingAttachment]
}
