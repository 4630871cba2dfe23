/// The memory that a port frees when it leaves a switch or closes a receive ring.
///
/// Senders may be in the middle of copying into that memory. The engine does not reuse it until each of their syncs
/// has ended.
final class SwitchQuarantine {
  let vale: EngineSwitch
  /// Keeps the port's memory mapped.
  let port: EnginePort
  private let region: Region
  /// The value that identifies the quarantine to the region.
  private let begun: UInt64
  /// Whether it is the port of a module host.
  private let isHost: Bool
  private var users: SenderWatch?

  /// Begins the quarantine of everything that `port` frees from now on. The port is still on the switch.
  init(_ port: EnginePort, on vale: EngineSwitch) {
    self.port = port
    self.vale = vale
    region = port.region
    isHost = port.membership?.isHidden ?? false
    begun = region.beginQuarantine(of: ObjectIdentifier(port.segment.memory))
  }

  /// Notes which senders may be in the middle of a sync. Call it once the port, or its rings, have been unlinked.
  ///
  /// - Parameters:
  ///   - others: Ports that left the switch earlier, and may still be in the middle of a sync.
  ///   - clients: The engine's clients.
  func watch(_ others: [EnginePort], among clients: Directory) {
    let segments =
      vale.members.values.map(\.port.segment) + others.map(\.segment) + [port.segment]
    users = SenderWatch(segments, among: clients)
  }

  /// Whether no sender can be writing to the port any more.
  func isOver() -> Bool {
    users?.haveGoneOn() ?? false
  }

  func end() {
    if isHost { vale.modules.noteLosses(in: HostBacklog(port.segment)) }
    region.endQuarantine(of: ObjectIdentifier(port.segment.memory), begun: begun)
  }
}

extension EngineState {
  /// Frees the memory that no sender can be writing to any more.
  func sweepSwitches() {
    for vale in switches.values { vale.destinations.sweep() }
    guard !leaving.isEmpty else { return }
    // Ask each quarantine once. If one ends a moment later, it stays until the next sweep.
    var over: [SwitchQuarantine] = []
    leaving.removeAll { quarantine in
      guard quarantine.isOver() else { return false }
      over.append(quarantine)
      return true
    }
    for quarantine in over { quarantine.end() }
  }

  /// Runs `body`, which unlinks and frees a port or its rings. If the port is on a switch, the memory that `body`
  /// frees goes into quarantine.
  func quarantining(_ port: EnginePort, _ body: () -> Void) {
    guard let member = port.membership else { return body() }
    let quarantine = SwitchQuarantine(port, on: member.vale)
    body()
    quarantine.watch(
      leaving.filter { $0.vale === member.vale }.map(\.port), among: directory)
    if quarantine.isOver() {
      quarantine.end()
    } else {
      leaving.append(quarantine)
    }
  }

  /// Refuses to create rings while a sender may still be writing to the port's former rings, and on a port that is
  /// on two switches.
  ///
  /// - Throws: ``NetmapError`` `EBUSY`. The first cause passes when that sender goes on or ends.
  func checkLeaving(_ port: EnginePort) throws(NetmapError) {
    sweepSwitches()
    if port.memberships.count > 1 {
      throw NetmapError(
        .busy, "open", port.name.rawValue, reason: "it is attached to two switches",
        remedy: "detach it from one of them")
    }
    guard leaving.contains(where: { $0.port === port }) else { return }
    var error = NetmapError(
      .busy, "open", port.name.rawValue,
      reason: "a sender has stopped while it was filling a former ring of the port",
      remedy: "continue the sender, or end it")
    error.patience = 500_000_000
    throw error
  }
}
