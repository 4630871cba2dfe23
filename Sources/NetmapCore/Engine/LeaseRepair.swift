internal import Synchronization

// A sender that dies between reserving slots and marking them as finished would keep the receiver
// waiting for ever. Its kring says what it was about to reserve; from that the engine can tell whether
// it did, and finish the lease for it, with empty slots.

extension Engine {
  /// Finishes the leases of a client that is known to be dead. Before its locks are released.
  ///
  /// - Returns: How many there were.
  @discardableResult
  package func finishLeases(of tag: ClientTag) -> Int {
    let count = try? exclusively { (state) throws(NetmapError) in
      for bridge in state.bridges.values { state.note(tag, on: bridge) }
      return state.finishLeases()
    }
    return count ?? 0
  }
}

/// A lease that a dead sender may have left unfinished.
struct OrphanLease {
  let bridge: Bridge
  let intent: Intent
}

extension EngineState {
  /// Takes down what a dead client was doing on a switch.
  fileprivate func note(_ tag: ClientTag, on bridge: Bridge) {
    let segments =
      bridge.members.values.map(\.port.segment)
      + leaving.filter { $0.bridge === bridge }.map(\.port.segment)
    for segment in segments {
      let krings = unsafe Bridge.senders(segment)
      let count = unsafe krings.count
      for index in 0..<count where unsafe krings[index].lockHolder == tag.rawValue {
        orphans.append(OrphanLease(bridge: bridge, intent: unsafe krings[index].intent))
        // It is taken down; nobody must take it for that of a living sender.
        unsafe krings[index].announce(.max, 0, 0, Lease(sequence: 0, start: 0, slots: 0))
      }
    }
  }

  /// Finishes the leases of the dead as far as that can be decided.
  ///
  /// - Returns: How many were finished.
  func finishLeases() -> Int {
    guard !orphans.isEmpty else { return 0 }
    var finished = 0
    orphans.removeAll { orphan in
      switch verdict(orphan) {
      case .settled: return true
      case .undecided: return false
      case .unfinished(let port):
        finish(orphan.intent, of: port)
        finished += 1
        return true
      }
    }
    return finished
  }

  private enum Verdict {
    /// It was never reserved, is finished already, or the port has gone.
    case settled
    /// It is either the dead sender's or one of a living sender that wanted the same slots.
    case undecided
    case unfinished(EnginePort)
  }

  private func verdict(_ orphan: OrphanLease) -> Verdict {
    let intent = orphan.intent
    guard intent.port < UInt32(SwitchLimits.indexes),
      let member = orphan.bridge.members[Int(intent.port)],
      member.generation == intent.generation,
      let kring = unsafe member.port.segment.kring(end: 0, .receive, Int(intent.ring)),
      let leases = unsafe member.port.segment.leases(Int(intent.ring)),
      Int(intent.slots) < member.port.segment.leaseSlots,
      Int(intent.start) < member.port.segment.leaseSlots, intent.slots > 0
    else { return .settled }
    let reserved = unsafe Reservation(kring.reservation.pointee.load(ordering: .acquiring))
    let mark = unsafe LeaseTable(base: leases).mark(intent.start).pointee.load(ordering: .acquiring)
    // Sequence numbers have 48 bits.
    func isPast(_ one: UInt64, _ other: UInt64) -> Bool {
      unsafe (one &- other) & BridgeView.addressMask < 1 << 47
    }
    if !isPast(reserved.sequence, intent.sequence + 1) || isPast(mark >> 16, intent.sequence) {
      return .settled
    }
    let isWantedByOthers = orphan.bridge.members.values.contains { other in
      let krings = unsafe Bridge.senders(other.port.segment)
      let count = unsafe krings.count
      return (0..<count).contains {
        let rival = unsafe krings[$0].intent
        return unsafe krings[$0].lockHolder != 0 && rival.port == intent.port
          && rival.generation == intent.generation && rival.ring == intent.ring
          && rival.sequence == intent.sequence
      }
    }
    return isWantedByOthers ? .undecided : .unfinished(member.port)
  }

  /// How many slots a lease has: up to where the next one begins. Two senders that wanted the same slots
  /// and died together may have wanted more or fewer of them.
  private func slots(of intent: Intent, _ kring: KRing, _ table: LeaseTable, count: Int) -> Int {
    let following = unsafe (intent.sequence + 1) & BridgeView.addressMask
    let reserved = unsafe Reservation(kring.reservation.pointee.load(ordering: .acquiring))
    var end: Int?
    if reserved.sequence == following {
      end = Int(reserved.next)
    } else {
      end = (0..<count).first {
        unsafe table.mark(UInt32($0)).pointee.load(ordering: .relaxed) >> 16 == following
      }
    }
    guard let end, end < count, end != Int(intent.start) else { return Int(intent.slots) }
    return (end + count - Int(intent.start)) % count
  }

  private func finish(_ intent: Intent, of port: EnginePort) {
    guard let offset = port[.receive, Int(intent.ring)].offset,
      let leases = unsafe port.segment.leases(Int(intent.ring))
    else { return }
    let count = port.geometry.receiveSlots
    let table = unsafe LeaseTable(base: leases)
    let slots = unsafe slots(
      of: intent, port.kring(.receive, Int(intent.ring)), table, count: count)
    for step in 0..<slots {
      port.region.clearSlot((Int(intent.start) + step) % count, ofRingAt: offset)
    }
    let lease = Lease(sequence: intent.sequence, start: intent.start, slots: UInt32(slots))
    unsafe table.contents(intent.start).pointee.store(0, ordering: .relaxed)
    unsafe table.mark(intent.start).pointee.store(
      lease.mark, ordering: .sequentiallyConsistent)
  }
}
