internal import Glibc
internal import NetmapCore

extension ControlThread {
  /// Carries out a request that changes a switch, and maps the rings of an interface that came to it.
  ///
  /// - Parameters:
  ///   - request: The request.
  ///   - namespace: The network namespace of the client.
  ///   - carrier: Who carries packets between the interface and the switch.
  /// - Returns: The outcome, and the mapped rings.
  /// - Throws: ``NetmapError`` of the engine; `EAGAIN` when a persistent port was removed meanwhile.
  func decide(
    _ request: SwitchRequest, _ namespace: NamespaceFile?, _ carrier: ClientTag?
  ) throws(NetmapError) -> Switched {
    var switched = Switched(
      request: request, outcome: try engine.decide(request), namespace: namespace)
    guard case .attached(let made) = switched.outcome else { return switched }
    do throws(NetmapError) {
      guard let carrier else {
        throw NetmapError(
          .init(rawValue: EAGAIN), "attach", made.name.rawValue,
          reason: "a persistent port of that name was removed in the meantime", remedy: "try again")
      }
      for lane in 0..<made.lanes {
        switched.lanes.append(try engine.mapPort(made.interface, tag: carrier, lane: lane))
      }
      return switched
    } catch {
      engine.endInterface(made.name)
      throw error
    }
  }
}
