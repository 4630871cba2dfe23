internal import Synchronization

/// The check of one switch: finds receive rings that wait for a lease which no process will finish.
struct LeaseCheck {
  private let vale: EngineSwitch
  private let directory: Directory
  /// The leases that living senders have announced.
  private var announced: Set<AwaitedLease> = []

  /// A lease that a receive ring waits for: the ring and the lease's number.
  private struct AwaitedLease: Hashable {
    let target: LeaseTarget
    let sequence: UInt64
  }

  init(_ vale: EngineSwitch, _ directory: Directory) {
    self.vale = vale
    self.directory = directory
  }

  /// - Parameter senders: The sync segments of all ports that may be in the middle of a sync on the switch.
  /// - Returns: The faults, one line each.
  mutating func findings(_ senders: [SyncSegment]) -> [String] {
    // The order matters, as in `finishLeases`: a sender announces a lease before it reserves it, and withdraws the
    // announcement after it has finished the lease. So the check loads the reservations first and the leases'
    // marks last.
    let waiting = vale.members.values.sorted { $0.index < $1.index }.flatMap(Self.waitingRings)
    guard !waiting.isEmpty else { return [] }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    for segment in senders {
      let krings = unsafe EngineSwitch.senders(segment)
      for index in unsafe krings.indices {
        let kring = unsafe krings[index]
        let holder = unsafe kring.lockHolder
        guard holder != 0, directory.hasClient(holder), let intent = unsafe kring.intent else {
          continue
        }
        announced.insert(
          AwaitedLease(target: intent.target, sequence: intent.reservation.sequence))
      }
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return waiting.compactMap { ring in
      let wanted = AwaitedLease(target: ring.target, sequence: ring.awaited.sequence)
      return announced.contains(wanted) ? nil : ring.finding
    }
  }

  /// The receive rings of a port that have not taken over every lease that senders have reserved.
  private static func waitingRings(_ member: SwitchMember) -> [WaitingRing] {
    let port = member.port
    return (0..<port.geometry.receiveRings).compactMap { index in
      guard port[.receive, index].offset != nil,
        let kring = unsafe port.segment.kring(end: 0, .receive, index),
        let leases = unsafe port.segment.leases(index)
      else { return nil }
      let awaited = unsafe kring.arriving
      guard unsafe kring.acquireReservation() != awaited else { return nil }
      return unsafe WaitingRing(
        name: "\(member.name.rawValue) receive ring \(index)",
        target: LeaseTarget(port: member.index, generation: member.generation, ring: index),
        awaited: awaited, slotCount: UInt32(port.geometry.receiveSlots),
        table: LeaseTable(base: leases))
    }
  }
}

/// A receive ring with a lease that it has not taken over yet.
@safe
private struct WaitingRing {
  let name: String
  let target: LeaseTarget
  let awaited: Reservation
  let slotCount: UInt32
  let table: LeaseTable

  /// The fault, if no living sender has announced the lease; nil when the lease is finished.
  var finding: String? {
    guard awaited.next < slotCount else {
      return "\(name): it waits for a lease at slot \(awaited.next) of \(slotCount)"
    }
    let last = unsafe table.lastSequence(at: awaited.next)
    if last == awaited.sequence {
      let slots = unsafe table.finishedSlots(of: awaited)
      return slots > 0 && slots < slotCount
        ? nil : "\(name): the lease at slot \(awaited.next) claims \(slots) slots of \(slotCount)"
    }
    // The ring has taken over this lease meanwhile, and a later sender has finished one that begins here.
    guard !Reservation.isReached(awaited.sequence, by: last) else { return nil }
    return "\(name): it waits for the lease at slot \(awaited.next), which no sender will finish"
  }
}
