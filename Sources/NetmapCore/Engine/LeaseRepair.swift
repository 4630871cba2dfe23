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

  /// As many of one switch are kept until they can be decided. A process that says of others' rings that dead
  /// senders were filling them, and of its own that it wants the same slots, gets no further than this.
  static let countMax = 1024
}

extension EngineState {
  /// Takes down what a dead client was doing on a switch.
  fileprivate func note(_ tag: ClientTag, on bridge: Bridge) {
    var count = orphans.count { $0.bridge === bridge }
    for segment in senders(on: bridge) {
      let krings = unsafe Bridge.senders(segment)
      for index in unsafe krings.indices {
        let kring = unsafe krings[index]
        guard unsafe kring.lockHolder == tag.rawValue else { continue }
        if let intent = unsafe kring.intent, count < OrphanLease.countMax {
          orphans.append(OrphanLease(bridge: bridge, intent: intent))
          count += 1
        }
        // It is taken down; nobody must take it for that of a living sender.
        unsafe kring.withdrawIntent()
      }
    }
  }

  /// Finishes the leases of the dead as far as that can be decided.
  ///
  /// The order of the looks decides. A lease that has been reserved is either the dead sender's or that of a
  /// living one, whose kring then says so until it has finished the lease. So whoever wants the slots is
  /// looked at after the reservation, and the lease's mark after both: a living sender that was not seen there
  /// has marked it by then.
  ///
  /// - Returns: How many were finished.
  func finishLeases() -> Int {
    guard !orphans.isEmpty else { return 0 }
    let reserved = orphans.compactMap { orphan in
      reservedLease(of: orphan).map { (orphan: orphan, lease: $0) }
    }
    var wanted: [ObjectIdentifier: Set<WantedLease>] = [:]
    for (orphan, _) in reserved where wanted[ObjectIdentifier(orphan.bridge)] == nil {
      wanted[ObjectIdentifier(orphan.bridge)] = wantedLeases(on: orphan.bridge)
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    var finished = 0
    orphans = []
    for (orphan, lease) in reserved {
      guard lease.isUnfinished else { continue }
      if wanted[ObjectIdentifier(orphan.bridge)]?.contains(WantedLease(orphan.intent)) ?? false {
        // It is either the dead sender's or one of a living sender that wanted the same slots.
        orphans.append(orphan)
      } else {
        lease.finish()
        finished += 1
      }
    }
    return finished
  }

  /// The lease that an orphan is about; nil when it was never reserved, makes no sense, or its port has gone.
  private func reservedLease(of orphan: OrphanLease) -> ReservedLease? {
    let intent = orphan.intent
    guard let member = orphan.bridge.members[intent.target.port],
      member.generation == intent.target.generation,
      let lease = ReservedLease(intent, of: member.port)
    else { return nil }
    return lease
  }

  /// What the senders of a switch that hold their rings' locks are about to reserve, or have reserved.
  private func wantedLeases(on bridge: Bridge) -> Set<WantedLease> {
    var result: Set<WantedLease> = []
    for segment in senders(on: bridge) {
      let krings = unsafe Bridge.senders(segment)
      for index in unsafe krings.indices {
        let kring = unsafe krings[index]
        guard unsafe kring.lockHolder != 0, let intent = unsafe kring.intent else { continue }
        result.insert(WantedLease(intent))
      }
    }
    return result
  }
}

/// A lease by its ring and number: two senders can want different slots under one number.
private struct WantedLease: Hashable {
  let target: LeaseTarget
  let sequence: UInt64

  init(_ intent: Intent) {
    target = intent.target
    sequence = intent.reservation.sequence
  }
}

/// A lease of a receive ring that somebody has reserved: the dead sender, or another one.
@safe
private struct ReservedLease {
  private let intent: Intent
  private let port: EnginePort
  private let kring: KRing
  private let table: LeaseTable
  /// Of the ring.
  private let slotCount: Int
  private let ringOffset: Int

  /// Nil when it has not been reserved, or the intent is about slots that the ring does not have.
  init?(_ intent: Intent, of port: EnginePort) {
    let (ring, slotCount) = (intent.target.ring, port.geometry.receiveSlots)
    guard let kring = unsafe port.segment.kring(end: 0, .receive, ring),
      let leases = unsafe port.segment.leases(ring), slotCount == port.segment.leaseSlots,
      Int(intent.slots) < slotCount, Int(intent.reservation.next) < slotCount,
      let offset = port[.receive, ring].offset
    else { return nil }
    let reached = unsafe kring.acquireReservation().sequence
    guard Reservation.isReached(intent.reservation.followingSequence, by: reached) else {
      return nil
    }
    self.intent = intent
    self.port = port
    unsafe self.kring = kring
    unsafe table = LeaseTable(base: leases)
    self.slotCount = slotCount
    ringOffset = offset
  }

  /// Whether the receiver has not been given it, nor a later one that begins at the same slot.
  var isUnfinished: Bool {
    unsafe !Reservation.isReached(
      intent.reservation.sequence, by: table.lastSequence(at: intent.reservation.next))
  }

  /// Hands the lease to the receiver, with empty slots.
  func finish() {
    let (start, slots) = (Int(intent.reservation.next), slots)
    for step in 0..<slots {
      port.region.clearSlot((start + step) % slotCount, ofRingAt: ringOffset)
    }
    unsafe table.finish(
      Lease(
        sequence: intent.reservation.sequence, start: intent.reservation.next,
        slots: UInt32(slots)), packets: 0, bytes: 0)
  }

  /// How many slots it has, fewer than the ring: up to where the next lease begins. Two senders that wanted the
  /// same slots and died together may have wanted more or fewer of them.
  private var slots: Int {
    let following = intent.reservation.followingSequence
    let reserved = unsafe kring.acquireReservation()
    var end: Int?
    if reserved.sequence == following {
      end = Int(reserved.next)
    } else {
      end = (0..<slotCount).first {
        unsafe table.lastSequence(at: UInt32($0)) == following
      }
    }
    let start = Int(intent.reservation.next)
    guard let end, end < slotCount, end != start else { return Int(intent.slots) }
    return (end + slotCount - start) % slotCount
  }
}
