internal import Glibc
internal import Synchronization

// Answers requests about switches in an embedded engine, whose own worker carries the packets of interfaces.
// (netmapd calls ``Engine/decide(_:)`` instead. Its worker is one of its clients.)

extension Engine {
  /// Answers a request about switches.
  ///
  /// Blocks while an interface is taken but may become free (``NetmapError/patience``). A request to detach an
  /// interface also blocks until the packets that were sent to the interface have gone out, at most 0.2 s after the
  /// last one.
  ///
  /// - Throws: ``NetmapError`` with the `errno` that netmap has for the refusal.
  package func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer {
    try retrying { () throws(NetmapError) in try carryOut(try decide(request)) }
  }

  private func carryOut(_ outcome: SwitchOutcome) throws(NetmapError) -> SwitchAnswer {
    switch outcome {
    case .done(let answer): return answer
    case .attached(let made):
      do throws(NetmapError) {
        try carry(made)
        return made.answer
      } catch {
        endInterface(made.name)
        throw error
      }
    case .detaches(let name, let answer):
      // The link no longer exists if the interface has disappeared meanwhile.
      if let link = links.withLock({ $0[name] }) {
        link.close()
        link.waitUntilOver()
      }
      return answer
    case .polls(let name, let cpus, let answer):
      let link = links.withLock { $0[name] }
      guard let cpus else {
        link?.stopPolling()
        forgetPolling(of: name)
        return answer
      }
      do throws(NetmapError) {
        try link?.poll(on: cpus)
      } catch {
        forgetPolling(of: name)
        throw error
      }
      return answer
    }
  }

  /// Begins to carry the packets of an interface. The link keeps the engine alive until the interface is detached.
  private func carry(_ made: InterfaceOnSwitch) throws(NetmapError) {
    let tag = try addClient(process: getpid())
    do throws(NetmapError) {
      var pairs: [InterfaceLink.Pair] = []
      for lane in 0..<made.lanes {
        let facing = made.facing(lane)
        pairs.append(
          InterfaceLink.Pair(
            interface: try mapPort(made.interface, tag: tag, lane: lane),
            port: try mapPort(facing.port, tag: tag, lane: facing.lane)))
      }
      let link = try InterfaceLink(pairs, worker: try worker()) { [self] in
        _ = links.withLock { $0.removeValue(forKey: made.name) }
        endInterface(made.name)
        removeClient(tag)
      }
      links.withLock { $0[made.name] = link }
      do throws(NetmapError) {
        try link.start()
      } catch {
        _ = links.withLock { $0.removeValue(forKey: made.name) }
        throw error
      }
    } catch {
      removeClient(tag)
      throw error
    }
  }
}
