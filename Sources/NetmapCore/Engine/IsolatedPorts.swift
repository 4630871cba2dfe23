/// The two ends of the pipe between an isolated process and the worker.
package struct IsolatedPair: Sendable {
  /// The end of the process: it stands for the port that the process asked for, in a region of its own.
  package let client: Registration
  /// The worker's end.
  package let worker: Registration
}

extension RegisterRequest {
  /// The request that the worker makes in place of an isolated process.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when the request has options that an isolated port cannot have.
  package func insideRequest() throws(NetmapError) -> RegisterRequest {
    let problem: (reason: String, remedy: String)? =
      if memoryID != 0 {
        ("an isolated port has memory of its own", "leave '@share' and the region's number out")
      } else if offsets != nil {
        ("an isolated port cannot have offsets", "leave '@offset' out")
      } else if flags.isMonitor {
        ("a monitor cannot be isolated", "leave '/i' out")
      } else {
        switch selection {
        case .allHardware, .oneHardware: nil
        case .host, .hardwareAndHost, .oneHost, .null:
          ("an isolated port has no host rings", "open it without '^' and '*'")
        }
      }
    if let problem {
      throw NetmapError(
        .invalidArgument, "open", name.rawValue, reason: problem.reason, remedy: problem.remedy)
    }
    var result = self
    result.extensions.remove(.isolated)
    result.extraBuffers = 0
    return result
  }
}

extension Engine {
  /// Creates and binds the pipe between an isolated process and the worker.
  ///
  /// The pipe has a region to itself. No program can open it by name.
  ///
  /// - Parameters:
  ///   - request: The request of the process.
  ///   - inside: The worker's binding of the port that the process asked for.
  /// - Returns: Both ends, bound.
  /// - Throws: ``NetmapError`` `ENOMEM`.
  package func registerIsolated(
    _ request: RegisterRequest, like inside: Registration
  ) throws(NetmapError) -> IsolatedPair {
    try exclusively { (state) throws(NetmapError) in
      try state.isolatedPair(request, inside)
    }
  }
}

extension EngineState {
  fileprivate func isolatedPair(
    _ request: RegisterRequest, _ inside: Registration
  ) throws(NetmapError) -> IsolatedPair {
    let own = inside.geometry
    let geometry = PortGeometry(
      transmitRings: own.transmitRings, receiveRings: own.receiveRings,
      transmitSlots: own.transmitSlots, receiveSlots: own.receiveSlots)
    let region = try newRegion(
      .virtualPort(
        geometry, extraBuffers: min(request.extraBuffers, EngineLimits.extraBuffers),
        tunables.privateMinimums))
    let ends: (client: EnginePort, worker: EnginePort)
    do throws(NetmapError) {
      ends = try isolatedEnds(request.name, geometry, region)
    } catch {
      dropIfUnused(region)
      throw error
    }
    var client: Registration
    do throws(NetmapError) {
      client = try bind(ends.client, request)
      var backend = BackendDescription(name: BackendDescription.isolated, mode: "")
      backend.remarks = inside.backend?.remarks ?? []
      client.backend = backend
    } catch {
      dropIfUnused(ends.client)
      throw error
    }
    var mirrored = request
    mirrored.extraBuffers = 0
    mirrored.flags = []
    mirrored.extensions = []
    if request.flags.contains(.transmitOnly) { mirrored.flags.insert(.receiveOnly) }
    if request.flags.contains(.receiveOnly) { mirrored.flags.insert(.transmitOnly) }
    do throws(NetmapError) {
      return IsolatedPair(client: client, worker: try bind(ends.worker, mirrored))
    } catch {
      if let binding = bindings.removeValue(forKey: client.id) { unbind(binding) }
      throw error
    }
  }

  private func isolatedEnds(
    _ name: PortName, _ geometry: PortGeometry, _ region: Region
  ) throws(NetmapError) -> (client: EnginePort, worker: EnginePort) {
    func port(_ kind: EnginePort.Kind, _ geometry: PortGeometry, _ segment: SyncSegment, _ end: Int)
      -> EnginePort
    {
      EnginePort(
        name: name, kind: kind, geometry: geometry, segment: segment, end: end, region: region,
        bindingSlots: slots, isListed: false)
    }
    let slots = BindingSlots()
    let segment = try SyncSegment(
      creating: "netmap-isolated-\(name.rawValue)", ends: [geometry, geometry.mirrored],
      region: region.layout)
    // The parent is not among the ports that programs can open.
    let parent = port(
      .virtual, geometry,
      try SyncSegment(
        creating: "netmap-port-\(name.rawValue)", ends: [geometry], region: region.layout), 0)
    let client = port(.pipeEnd, geometry, segment, 0)
    let worker = port(.pipeEnd, geometry.mirrored, segment, 1)
    parent.pipes[name.bytes] = PipePair(
      parent: parent, id: name.bytes, master: client, slave: worker)
    return (client, worker)
  }
}
