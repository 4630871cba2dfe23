// What people read in a dump.

/// Bytes as text without control characters.
package func printable(_ bytes: [UInt8]) -> String { PortText.printable(bytes) }

extension DumpedEngine {
  /// The ports, by name.
  package var dumpedPorts: [DumpedPort] {
    let owners = Dictionary(dump.owners.map { ($0.binding, $0) }) { first, _ in first }
    var bindings: [ObjectIdentifier: [DumpedBinding]] = [:]
    for (id, binding) in state.bindings.sorted(by: { $0.key.number < $1.key.number }) {
      bindings[ObjectIdentifier(binding.port), default: []].append(
        dumped(id, binding, owners[id.number]))
    }
    let announcements = announcements
    return ports.map { port in
      DumpedPort(
        name: PortText.printable(port.name.bytes), kind: "\(port.ringKind)",
        memoryID: port.region.id, geometry: port.geometry, isPersistent: port.isPersistent,
        places: port.memberships.map { "\($0.vale.name), index \($0.index)" }
          + (port.attachedAs.map { ["held as \(PortText.printable($0.bytes))"] } ?? []),
        bindings: bindings[ObjectIdentifier(port)] ?? [], rings: rings(of: port, announcements),
        waiters: port.segment.listedWaiters.map(sleeper))
    }
  }

  /// The switches, by number.
  package var dumpedSwitches: [DumpedSwitch] {
    state.switches.values.sorted { $0.number < $1.number }.map { vale in
      let view = unsafe vale.segment.view
      let members = vale.members.values.sorted { $0.index < $1.index }.map { member in
        unsafe DumpedSwitch.Member(
          index: member.index, name: PortText.printable(member.name.bytes),
          generation: member.generation,
          isLinked: view.generation(of: member.index) == member.generation,
          isHidden: member.isHidden, isHolding: view.isHolding(member.index),
          unknownRegion: view.counter(.unknownRegion, of: member.index),
          noReceiver: view.counter(.noReceiver, of: member.index))
      }
      return unsafe DumpedSwitch(name: vale.name, members: members, addresses: view.addresses)
    }
  }

  /// The process that a tag in shared memory names.
  private func client(_ tag: UInt64) -> DumpedClient? {
    guard tag != 0 else { return nil }
    let (slot, epoch) = (UInt32(truncatingIfNeeded: tag), UInt32(tag >> 32))
    if epoch > 0, slot < ClientTag.slotCount,
      let process = state.directory.process(of: ClientTag(slot: slot, epoch: epoch))
    {
      return .process(process)
    }
    return .ended(slot: slot, epoch: epoch)
  }

  private func sleeper(_ bits: UInt32) -> DumpedSleeper {
    if unsafe bits == WaitWord.several { return .several }
    if let binding = Announcement(bits: bits).binding { return .futex(binding: binding) }
    let number = bits &- 1
    let owner = dump.clients.first {
      $0.epoch > 0 && $0.slot < ClientTag.slotCount
        && ClientTag(slot: $0.slot, epoch: $0.epoch).doorbell == number
    }
    return .doorbell(number, owner.map { .process($0.process) })
  }

  private func dumped(
    _ id: BindingID, _ binding: EngineState.Binding, _ owner: EngineDump.Owner?
  ) -> DumpedBinding {
    let segment = binding.port.segment
    return unsafe DumpedBinding(
      id: id.number, index: binding.index, record: binding.record,
      isExclusive: binding.isExclusive,
      bellCount: segment.bell(ofBinding: binding.index)?.count ?? 0,
      loop: client(segment.control(ofBinding: binding.index)?.loopOwner ?? 0), owner: owner)
  }

  // MARK: - Rings

  private func rings(of port: EnginePort, _ announcements: [LeaseKey: [DumpedLease.Sender]])
    -> [DumpedRing]
  {
    [Direction.transmit, .receive].flatMap { direction in
      (0..<port.geometry.rings(direction)).compactMap { index in
        port[direction, index].offset.map { offset in
          ring(port, direction, index, at: offset, announcements)
        }
      }
    }
  }

  private func ring(
    _ port: EnginePort, _ direction: Direction, _ index: Int, at offset: Int,
    _ announcements: [LeaseKey: [DumpedLease.Sender]]
  ) -> DumpedRing {
    let kring = unsafe port.kring(direction, index)
    let slots = port.geometry.slots(direction)
    let ring = unsafe port.region.ring(at: offset, slotCount: slots)
    var result = unsafe DumpedRing(
      direction: direction, index: index, slots: slots, cursors: kring.cursors,
      counters: kring.counters)
    result.isMoving = isMoving(port, direction, index)
    unsafe result.isStopped = kring.state.contains(.stopped)
    unsafe (result.head, result.cur, result.tail) = (ring.head, ring.cur, ring.tail)
    unsafe result.published = kring.published
    unsafe result.lock = client(kring.lockHolder)
    // On a pipe, a sleeper announces itself at the end whose progress it waits for.
    let announced = unsafe peer(of: port, direction, index)?.announced ?? kring.announced
    if announced != 0 { result.sleepers = [sleeper(announced)] }
    if direction == .receive { unsafe result.exchange = kring.exchangeNote.batch }
    guard port.ringKind == .vale else { return result }
    if direction == .transmit {
      unsafe describeSender(kring, port, &result)
    } else {
      unsafe describeReceiver(kring, port, index, announcements, &result)
    }
    return result
  }

  /// The other end's kring of a pipe's ring.
  private func peer(of port: EnginePort, _ direction: Direction, _ index: Int) -> KRing? {
    guard let pair = unsafe port.pair else { return nil }
    return unsafe pair.peer(of: port).kring(direction == .transmit ? .receive : .transmit, index)
  }

  private func describeSender(_ kring: KRing, _ port: EnginePort, _ result: inout DumpedRing) {
    if let intent = unsafe kring.intent {
      let member = port.membership?.vale.members[intent.target.port]
      let name = member.map { PortText.printable($0.name.bytes) } ?? "port \(intent.target.port)"
      let isPresent = member?.generation == intent.target.generation
      result.announced = DumpedRing.Announced(
        target: "\(name) receive ring \(intent.target.ring)\(isPresent ? "" : ", which has left")",
        sequence: intent.reservation.sequence, start: intent.reservation.next, slots: intent.slots)
    }
    let slot = unsafe kring.deliveredSlot
    if slot > 0 {
      result.broadcast = DumpedRing.Broadcast(
        slot: slot - 1, receivers: Self.indexes { unsafe kring.delivered($0) })
    }
  }

  private func describeReceiver(
    _ kring: KRing, _ port: EnginePort, _ index: Int,
    _ announcements: [LeaseKey: [DumpedLease.Sender]], _ result: inout DumpedRing
  ) {
    unsafe result.isOpenToSenders = kring.isOpen
    unsafe result.holdsSenders = kring.holdsSenders
    result.heldSenders = Self.indexes { unsafe kring.heldSenders($0) }
    guard let leases = unsafe port.segment.leases(index) else { return }
    let (end, slots) = unsafe (kring.reservation, UInt32(result.slots))
    unsafe (result.reservation, result.arriving) = (end, kring.arriving)
    let table = unsafe LeaseTable(base: leases)
    var next = unsafe kring.arriving
    // A lease that is not finished hides how many slots it has, and so where the next one begins.
    while next != end, next.next < slots, result.leases.count < DumpedRing.leasesMax {
      var lease = DumpedLease(sequence: next.sequence, start: next.next)
      for member in port.memberships {
        let target = LeaseTarget(port: member.index, generation: member.generation, ring: index)
        lease.senders += announcements[LeaseKey(target: target, sequence: next.sequence)] ?? []
      }
      let count = unsafe table.finishedSlots(of: next)
      guard count > 0, count < slots else {
        result.leases.append(lease)
        return
      }
      lease.finishedSlots = count
      unsafe lease.packets = table.contents(at: next.next).packets
      result.leases.append(lease)
      next = next.following(count, of: slots)
    }
  }

  /// A lease of a receive ring: the ring and the lease's number.
  struct LeaseKey: Hashable {
    let target: LeaseTarget
    let sequence: UInt64
  }

  /// The leases that senders have announced.
  private var announcements: [LeaseKey: [DumpedLease.Sender]] {
    var result: [LeaseKey: [DumpedLease.Sender]] = [:]
    for port in ports where port.ringKind == .vale {
      for index in 0..<port.geometry.rings(.transmit) {
        let kring = unsafe port.kring(.transmit, index)
        guard let intent = unsafe kring.intent else { continue }
        let key = LeaseKey(target: intent.target, sequence: intent.reservation.sequence)
        result[key, default: []].append(
          unsafe DumpedLease.Sender(
            ring: "\(PortText.printable(port.name.bytes)) transmit ring \(index)",
            slots: intent.slots, holder: client(kring.lockHolder)))
      }
    }
    return result
  }

  /// The numbers of the bits that are set in four words.
  private static func indexes(_ word: (Int) -> UInt64) -> [Int] {
    (0..<4).flatMap { part in
      let bits = word(part)
      return (0..<64).filter { bits >> UInt64($0) & 1 != 0 }.map { 64 * part + $0 }
    }
  }
}
