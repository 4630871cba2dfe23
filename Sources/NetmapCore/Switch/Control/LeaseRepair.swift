internal import Synchronization

// If a sender dies between reserving slots and marking them as finished, the receiver would wait forever. The
// sender's kring says which slots it was about to reserve. From that the engine can tell whether the sender did
// reserve them, and if so finishes the lease with empty slots.

extension Engine {
  /// Finishes the leases of a client that is known to be dead. Call it before the client's locks are released.
  ///
  /// - Returns: How many leases were finished, those of clients that died earlier included.
  @discardableResult
  package func finishLeases(of tag: ClientTag) -> Int {
    let count = try? exclusively { (state) throws(NetmapError) in
      for vale in state.switches.values { state.note(tag, on: vale) }
      return state.finishLeases()
    }
    return count ?? 0
  }
}

/// A lease that a dead sender may have left unfinished.
struct OrphanLease {
  let vale: EngineSwitch
  let intent: Intent

  /// The most undecided leases that the engine keeps for one switch.
  ///
  /// This bounds what a hostile process on the switch can cause. Such a process can mark other ports' rings as
  /// locked by dead senders that wanted certain slots, and announce in its own ring that it wants the same slots.
  static let countMax = 1024
}

extension EngineState {
  /// Records the leases that a dead client was about to reserve on a switch.
  fileprivate func note(_ tag: ClientTag, on vale: EngineSwitch) {
    var count = orphans.count { $0.vale === vale }
    for segment in senders(on: vale) {
      let krings = unsafe EngineSwitch.senders(segment)
      for index in unsafe krings.indices {
        let kring = unsafe krings[index]
        guard unsafe kring.lockHolder == tag.rawValue else { continue }
        if let intent = unsafe kring.intent, count < OrphanLease.countMax {
          orphans.append(OrphanLease(vale: vale, intent: intent))
          count += 1
        }
        // The intent is recorded now. The engine must not mistake it for that of a living sender.
        unsafe kring.withdrawIntent()
      }
    }
  }

  /// Finishes the leases of dead senders, as far as the engine can tell whose they are.
  ///
  /// The order of the loads matters. A reserved lease belongs to the dead sender or to a living one. A living
  /// sender's kring names the lease until that sender has finished it. So the engine loads the reservation first,
  /// then the intents of all senders, and the lease's mark last. A living sender whose intent was not found has
  /// marked the lease by then.
  ///
  /// - Returns: How many leases were finished.
  func finishLeases() -> Int {
    guard !orphans.isEmpty else { return 0 }
    let reserved = orphans.compactMap { orphan in
      reservedLease(of: orphan).map { (orphan: orphan, lease: $0) }
    }
    var wanted: [ObjectIdentifier: Set<WantedLease>] = [:]
    for (orphan, _) in reserved where wanted[ObjectIdentifier(orphan.vale)] == nil {
      wanted[ObjectIdentifier(orphan.vale)] = wantedLeases(on: orphan.vale)
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    var finished = 0
    orphans = []
    for (orphan, lease) in reserved {
      guard lease.isUnfinished else { continue }
      if wanted[ObjectIdentifier(orphan.vale)]?.contains(WantedLease(orphan.intent)) ?? false {
        // The lease is the dead sender's, or that of a living sender that wanted the same slots. Decide later.
        orphans.append(orphan)
      } else {
        lease.finish()
        finished += 1
      }
    }
    return finished
  }

  /// The lease that an orphan describes; nil when it was never reserved, when its numbers are not valid, or when
  /// its port has left the switch.
  private func reservedLease(of orphan: OrphanLease) -> ReservedLease? {
    let intent = orphan.intent
    guard let member = orphan.vale.members[intent.target.port],
      member.generation == intent.target.generation,
      let lease = ReservedLease(intent, of: member.port)
    else { return nil }
    return lease
  }

  /// The leases that senders on a switch are about to reserve, or have reserved. Only senders that hold their
  /// rings' locks count.
  private func wantedLeases(on vale: EngineSwitch) -> Set<WantedLease> {
    var result: Set<WantedLease> = []
    for segment in senders(on: vale) {
      let krings = unsafe EngineSwitch.senders(segment)
      for index in unsafe krings.indices {
        let kring = unsafe krings[index]
        guard unsafe kring.lockHolder != 0, let intent = unsafe kring.intent else { continue }
        result.insert(WantedLease(intent))
      }
    }
    return result
  }
}

/// A lease, identified by its ring and number. Two senders can want a different number of slots under one number.
private struct WantedLease: Hashable {
  let target: LeaseTarget
  let sequence: UInt64

  init(_ intent: Intent) {
    target = intent.target
    sequence = intent.reservation.sequence
  }
}

/// A lease of a receive ring that has been reserved, by the dead sender or by another one.
@safe
private struct ReservedLease {
  private let intent: Intent
  private let port: EnginePort
  private let kring: KRing
  private let table: LeaseTable
  /// Slots of the ring.
  private let slotCount: Int
  private let ringOffset: Int

  /// Nil when the lease has not been reserved, or when the intent names slots that the ring does not have.
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

  /// Whether no sender has marked this lease as finished, nor a later lease that begins at the same slot.
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

  /// The slots of the lease, fewer than the ring has.
  ///
  /// The lease ends where the next one begins. The intent does not suffice: two senders that wanted the same lease
  /// and died together may have wanted different numbers of slots.
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
