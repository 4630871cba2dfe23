extension Engine {
  /// Makes the data path of a binding, for use in the engine's own process.
  ///
  /// - Parameters:
  ///   - registration: What ``register(_:)`` answered.
  ///   - tag: In whose name rings are locked.
  ///   - stampsAlways: Whether receive rings are stamped without being asked.
  /// - Returns: The data path. It stays valid memory for as long as the object lives.
  /// - Throws: ``NetmapError`` when a backend cannot be attached.
  package func attach(
    _ registration: Registration, tag: ClientTag, stampsAlways: Bool = true
  ) throws(NetmapError) -> AttachedPort {
    let bridge = try exclusively { (state) throws(NetmapError) in
      state.bindings[registration.id]?.port.membership?.attachment
    }
    let interface = try exclusively {
      (state) throws(NetmapError)
        -> (backend: any InterfaceBackend, geometry: PortGeometry, ownership: BufferOwnership)? in
      guard let port = state.bindings[registration.id]?.port,
        case .interface(let backend) = port.kind
      else { return nil }
      return (backend, port.geometry, port.region.ownership)
    }
    return unsafe try AttachedPort(
      region: registration.region, segment: registration.segment,
      binding: registration.bindingIndex, tag: tag, doorbells: doorbells,
      stampsAlways: stampsAlways, bridge: bridge
    ) { (direction, index, ring, kring) throws(NetmapError) in
      guard let interface else { return unsafe .none }
      return unsafe try interface.backend.attach(
        RingPlacement(
          index: interface.geometry.pair(direction, index), direction: direction,
          ring: ring, kring: kring, ownership: interface.ownership))
    }
  }
}
