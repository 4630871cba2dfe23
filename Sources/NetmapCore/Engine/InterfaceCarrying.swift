internal import Glibc
internal import Synchronization

// Requests about switches, answered by the engine of this process alone: its own worker carries the packets
// of interfaces. (netmapd decides with ``Engine/decide(_:)``, and has a worker that is its own client.)

extension Engine {
  /// Answers a request about switches.
  ///
  /// Blocks when an interface is taken that may become free (``NetmapError/patience``), and until packets that
  /// were sent to an interface have gone out when it is detached, at most 0.2 s after the last one.
  ///
  /// - Throws: ``NetmapError`` with the `errno` that netmap has for the refusal.
  package func answer(_ request: SwitchRequest) throws(NetmapError) -> SwitchAnswer {
    let start = monotonicNanoseconds()
    while true {
      do throws(NetmapError) {
        return try carryOut(try decide(request))
      } catch {
        guard error.mayPass(since: start) else { throw error }
        usleep(10_000)
      }
    }
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
    case .leaves(let name, let answer):
      // None is left where the interface has gone meanwhile.
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

  /// Begins to carry the packets of an interface. The engine lives at least until it is detached.
  private func carry(_ made: InterfaceOnSwitch) throws(NetmapError) {
    let tag = try addClient(process: getpid())
    do throws(NetmapError) {
      var pairs: [InterfaceLink.Pair] = []
      for lane in 0..<made.lanes {
        pairs.append(
          InterfaceLink.Pair(
            interface: try attach(made.interface, tag: tag, lane: lane),
            port: try attach(made.port, tag: tag, lane: lane)))
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
