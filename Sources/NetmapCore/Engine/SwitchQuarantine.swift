/// What a port that has left a switch, or closed a receive ring, leaves behind for senders that are in
/// the middle of copying into it.
///
/// A sender holds the lock of its transmit ring from before it looks for a port until it has finished
/// with it. So whoever held such a lock when the port had been unlinked may still be writing; whoever
/// takes one later has seen that the port is gone. Until each of those locks was seen free, or in another
/// sync, nothing of the port is used again.
@safe
final class SwitchQuarantine {
  let bridge: Bridge
  /// Keeps the mappings.
  let port: EnginePort
  /// What senders of this process may still look at.
  var retired: DestinationTable.Place?
  private let region: Region
  private var pending: [Pending] = unsafe []

  @unsafe
  private struct Pending {
    /// Keeps the kring mapped.
    let segment: SyncSegment
    let kring: KRing
    let holder: UInt64
    let syncs: UInt64

    var isOver: Bool {
      unsafe kring.lockHolder != holder || kring.counters.syncs != syncs
    }
  }

  /// Begins the quarantine of what `port` frees from now on. The port is still linked.
  init(_ port: EnginePort, on bridge: Bridge) {
    self.port = port
    self.bridge = bridge
    region = port.region
    region.beginQuarantine()
  }

  /// Notes who may be in the middle of sending, once the port or its rings have been unlinked.
  ///
  /// - Parameter others: Ports that left the switch earlier, and may be in the middle of sending.
  func watch(_ others: [EnginePort]) {
    let segments =
      bridge.members.values.map(\.port.segment) + others.map(\.segment) + [port.segment]
    for segment in segments {
      let krings = unsafe Bridge.senders(segment)
      let count = unsafe krings.count
      for index in 0..<count {
        let kring = unsafe krings[index]
        let holder = unsafe kring.lockHolder
        guard holder != 0 else { continue }
        unsafe pending.append(
          Pending(
            segment: segment, kring: kring, holder: holder, syncs: kring.counters.syncs))
      }
    }
  }

  /// Whether nobody can be writing to the port any more.
  func isOver() -> Bool {
    unsafe pending.removeAll { unsafe $0.isOver }
    return unsafe pending.isEmpty
  }

  func end() {
    region.endQuarantine()
  }
}

extension EngineState {
  /// Frees what no sender can be writing to any more.
  func sweepSwitches() {
    guard !leaving.isEmpty else { return }
    let all = leaving
    leaving = all.filter { !$0.isOver() }
    for quarantine in all where quarantine.isOver() { quarantine.end() }
  }

  /// Ends the binding of a switch port: `body` unlinks and frees.
  func quarantining(_ port: EnginePort, _ body: () -> Void) {
    guard let member = port.membership else { return body() }
    let quarantine = SwitchQuarantine(port, on: member.bridge)
    body()
    quarantine.retired = member.retired
    quarantine.watch(leaving.filter { $0.bridge === member.bridge }.map(\.port))
    if quarantine.isOver() {
      quarantine.end()
    } else {
      leaving.append(quarantine)
    }
  }

  /// Refuses to make a ring whose predecessor a sender may still be writing to.
  ///
  /// - Throws: ``NetmapError`` `EBUSY`, which passes when that sender goes on or ends.
  func checkLeaving(_ port: EnginePort) throws(NetmapError) {
    sweepSwitches()
    guard leaving.contains(where: { $0.port === port }) else { return }
    var error = NetmapError(
      .busy, "open", port.name.rawValue,
      reason: "a sender has stopped while it was filling the ring that was open before",
      remedy: "let it go on, or end it")
    error.mayPass = true
    throw error
  }
}
