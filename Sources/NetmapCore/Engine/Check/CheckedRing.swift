/// A ring as the checker sees it.
///
/// The two joined rings of a pipe's direction count as one ring, the sender's.
struct CheckedRing {
  let port: EnginePort
  let direction: Direction
  let index: Int

  /// The other end of a pipe, whose receive ring is joined to this ring; nil for other ports.
  private let receiver: EnginePort?

  /// Every ring of the ports that has a ring object.
  static func all(of ports: [EnginePort]) -> [CheckedRing] {
    var result: [CheckedRing] = []
    for port in ports {
      let pair = unsafe port.pair
      for direction in Direction.allCases where pair == nil || direction == .transmit {
        for index in 0..<port.geometry.rings(direction)
        where port[direction, index].offset != nil {
          result.append(
            CheckedRing(
              port: port, direction: direction, index: index, receiver: pair?.peer(of: port)))
        }
      }
    }
    return result
  }

  /// Whether a backend moves the ring's packets.
  var isBackends: Bool { port.ringKind == .backend }

  /// Calls `body` for each slot: with the offset of the ring that holds the valid copy of the slot,
  /// and the slot's number.
  func forEachSlot(_ body: (Int, Int) -> Void) {
    if let pair = unsafe port.pair {
      return pair.forEachSlot(pair.master === port ? .transmit : .receive, index, body)
    }
    guard let offset = port[direction, index].offset else { return }
    for slot in 0..<port.geometry.slots(direction) { body(offset, slot) }
  }

  // MARK: - Motion

  /// The state that changes when a ring is synced.
  struct Motion: Hashable {
    fileprivate var syncs: [UInt64] = []
    fileprivate var cursors: [KRingCursors] = []
  }

  var motion: Motion {
    var motion = Motion()
    unsafe forEachKRing { kring, _, _ in
      unsafe motion.syncs.append(kring.value(of: .syncs))
      unsafe motion.cursors.append(kring.cursors)
    }
    return motion
  }

  /// Whether a process has synced the ring since `before`, or is syncing it now.
  func isMoving(since before: Motion, _ directory: Directory) -> Bool {
    var isHeld = false
    unsafe forEachKRing { kring, _, _ in
      let holder = unsafe kring.lockHolder
      if holder != 0, directory.hasClient(holder) { isHeld = true }
    }
    return isHeld || motion != before
  }

  private func forEachKRing(_ body: (KRing, EnginePort, Direction) -> Void) {
    unsafe body(port.kring(direction, index), port, direction)
    if let receiver { unsafe body(receiver.kring(.receive, index), receiver, .receive) }
  }

  // MARK: - What must hold

  /// Checks the ring's words in shared memory.
  ///
  /// - Parameters:
  ///   - directory: The clients that live.
  ///   - controlled: The rings in which `head`, `cur` and `tail` are the application's own.
  /// - Returns: The faults, one line each.
  func findings(_ directory: Directory, _ controlled: Set<RingKey>) -> [String] {
    var result: [String] = []
    unsafe forEachKRing { kring, port, direction in
      let name = "\(port.name.rawValue) \(direction) ring \(index)"
      let isControlled = controlled.contains(RingKey(port, direction, index))
      unsafe result += findings(of: kring, port, direction, directory, isControlled).map {
        "\(name): \($0)"
      }
    }
    if let receiver { result += pipeFindings(receiver) }
    return result
  }

  private func findings(
    of kring: KRing, _ port: EnginePort, _ direction: Direction, _ directory: Directory,
    _ isControlled: Bool
  ) -> [String] {
    guard let offset = port[direction, index].offset else { return [] }
    var result: [String] = []
    let slots = UInt32(port.geometry.slots(direction))
    let expected = KRingDescription(
      slotCount: slots, ringID: UInt32(index), direction: direction.rawValue,
      kind: port.ringKind.rawValue, ringOffset: UInt64(offset))
    if unsafe kring.description != expected {
      result.append("its description is damaged")
    }
    let holder = unsafe kring.lockHolder
    if holder != 0, !directory.hasClient(holder) {
      result.append("it is locked by a client that has ended")
    }
    let announced = unsafe kring.announced
    if announced != 0, unsafe announced != WaitWord.several {
      if let binding = Announcement(bits: announced).binding {
        if binding >= EngineLimits.bindingsPerPort {
          result.append("its wait word names binding \(binding), which cannot exist")
        }
      } else if !directory.isDoorbell(announced - 1) {
        result.append("its wait word names doorbell \(announced - 1), which never existed")
      }
    }
    let ring = unsafe port.region.ring(at: offset, slotCount: Int(slots))
    return unsafe result + orderFindings(kring.cursors, ring, isControlled)
  }

  /// Checks that the application's words lie between the engine's, in the order that a sync checks.
  private func orderFindings(
    _ kring: KRingCursors, _ ring: Ring, _ isControlled: Bool
  ) -> [String] {
    let slots = unsafe ring.slotCount
    let (head, cur, tail) =
      unsafe isControlled
      ? (kring.rhead, kring.rhead, kring.rtail) : (ring.head, ring.cur, ring.tail)
    let engine = [kring.hwcur, kring.rhead, kring.rcur, tail, kring.rtail, kring.hwtail]
    func inOrder(_ indexes: [UInt32]) -> Bool {
      guard indexes.allSatisfy({ $0 < slots }) else { return false }
      let distances = indexes.map { ($0 &+ slots &- indexes[0]) % slots }
      return zip(distances, distances.dropFirst()).allSatisfy { $0 <= $1 }
    }
    let names = "hwcur, rhead, rcur, tail, rtail, hwtail"
    // A process that is killed during a sync may have stored rhead but not rcur. The next sync
    // stores both.
    let (withoutCur, withoutHead) = (
      [engine[0], engine[1]] + engine[3...], [engine[0], engine[2]] + engine[3...]
    )
    guard inOrder(withoutCur), inOrder(withoutHead) else {
      return ["\(names) are \(engine.map(String.init).joined(separator: ", ")) of \(slots)"]
    }
    guard inOrder([kring.rhead, head, cur, tail]) else {
      return ["the application's head \(head) and cur \(cur) are out of range"]
    }
    return []
  }

  /// Checks that the receiver is neither ahead of the sender, nor a whole ring behind it.
  private func pipeFindings(_ receiver: EnginePort) -> [String] {
    let slots = UInt32(port.geometry.slots(.transmit))
    let (sending, receiving) = unsafe (
      port.kring(.transmit, index), receiver.kring(.receive, index)
    )
    let (taken, given) = unsafe (receiving.cursors, sending.cursors)
    let positions = [
      taken.position, taken.hwcur, taken.hwtail, given.position, given.hwcur,
    ]
    let distances = positions.map { ($0 &+ slots &- positions[0]) % slots }
    guard positions.allSatisfy({ $0 < slots }),
      zip(distances, distances.dropFirst()).allSatisfy({ $0 <= $1 })
    else {
      let list = positions.map(String.init).joined(separator: ", ")
      return [
        "\(port.name.rawValue) transmit ring \(index): released, taken, seen, published, sent are"
          + " \(list) of \(slots)"
      ]
    }
    return []
  }
}
