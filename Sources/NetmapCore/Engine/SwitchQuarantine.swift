/// What a port that has left a switch, or closed a receive ring, leaves behind for senders that are in
/// the middle of copying into it: nothing of it is used again until each of them is over.
final class SwitchQuarantine {
  let bridge: Bridge
  /// Keeps the mappings.
  let port: EnginePort
  private let region: Region
  /// The beginning of the region's quarantine.
  private let begun: UInt64
  /// Whether it is the port of a module host.
  private let isHost: Bool
  private var users: SenderWatch?

  /// Begins the quarantine of what `port` frees from now on. The port is still linked.
  init(_ port: EnginePort, on bridge: Bridge) {
    self.port = port
    self.bridge = bridge
    region = port.region
    isHost = port.membership?.isHidden ?? false
    begun = region.beginQuarantine(of: ObjectIdentifier(port.segment.memory))
  }

  /// Notes who may be in the middle of sending, once the port or its rings have been unlinked.
  ///
  /// - Parameters:
  ///   - others: Ports that left the switch earlier, and may be in the middle of sending.
  ///   - clients: Who there is.
  func watch(_ others: [EnginePort], among clients: Directory) {
    let segments =
      bridge.members.values.map(\.port.segment) + others.map(\.segment) + [port.segment]
    users = SenderWatch(segments, among: clients)
  }

  /// Whether nobody can be writing to the port any more.
  func isOver() -> Bool {
    users?.haveGoneOn() ?? false
  }

  func end() {
    if isHost { bridge.modules.noteLosses(in: HostBacklog(port.segment)) }
    region.endQuarantine(of: ObjectIdentifier(port.segment.memory), begun: begun)
  }
}

extension EngineState {
  /// Frees what no sender can be writing to any more.
  func sweepSwitches() {
    for bridge in bridges.values { bridge.destinations.sweep() }
    guard !leaving.isEmpty else { return }
    // Each is asked once: one that is over a moment later stays for the next time.
    var over: [SwitchQuarantine] = []
    leaving.removeAll { quarantine in
      guard quarantine.isOver() else { return false }
      over.append(quarantine)
      return true
    }
    for quarantine in over { quarantine.end() }
  }

  /// Ends the binding of a switch port: `body` unlinks and frees.
  func quarantining(_ port: EnginePort, _ body: () -> Void) {
    guard let member = port.membership else { return body() }
    let quarantine = SwitchQuarantine(port, on: member.bridge)
    body()
    quarantine.watch(
      leaving.filter { $0.bridge === member.bridge }.map(\.port), among: directory)
    if quarantine.isOver() {
      quarantine.end()
    } else {
      leaving.append(quarantine)
    }
  }

  /// Refuses to make a ring whose predecessor a sender may still be writing to, and one of a port on two
  /// switches.
  ///
  /// - Throws: ``NetmapError`` `EBUSY`; the former passes when that sender goes on or ends.
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
      reason: "a sender has stopped while it was filling the ring that was open before",
      remedy: "let it go on, or end it")
    error.patience = 500_000_000
    throw error
  }
}
