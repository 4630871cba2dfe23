import NetmapCore

/// The expected contents of a pipe's rings, computed in a slow and simple way.
///
/// One lane is a transmit ring and the receive ring it is joined to. The model has no krings,
/// positions or segments.
struct ModelLane {
  /// One side of the lane as its application sees it, and its `head` at the last sync.
  struct Side {
    var slots: [Slot]
    var head: UInt32 = 0
    var cur: UInt32 = 0
    var tail: UInt32
    var synced: UInt32 = 0
  }

  let count: UInt32
  var tx: Side
  var rx: Side
  /// The end of the slots that the receiver may see.
  var published: UInt32 = 0

  init(slots: [Slot]) {
    count = UInt32(slots.count)
    tx = Side(slots: slots, tail: UInt32(slots.count) - 1)
    rx = Side(slots: slots, tail: 0)
  }

  /// The slots from `first` up to `end`, without `end`.
  func walk(_ first: UInt32, _ end: UInt32) -> [UInt32] {
    var result: [UInt32] = []
    var index = first
    while index != end {
      result.append(index)
      index = (index + 1) % count
    }
    return result
  }

  /// Slots that the application of a side may touch.
  func own(_ direction: Direction) -> [UInt32] {
    direction == .transmit ? walk(tx.head, tx.tail) : walk(rx.head, rx.tail)
  }

  private func isLegal(_ side: Side) -> Bool {
    SyncPrologueTests.isLegal(count, side.synced, side.tail, side.head, side.cur)
  }

  private static func reset(_ side: inout Side, bufferCount: UInt32) {
    side.head = side.synced
    side.cur = side.synced
    for index in side.slots.indices {
      if !(2..<bufferCount).contains(side.slots[index].bufferIndex) {
        side.slots[index].bufferIndex = 0
        side.slots[index].length = 0
      } else if side.slots[index].length > 2048 {
        side.slots[index].length = 0
      }
    }
  }

  mutating func syncTransmit(bufferCount: UInt32) -> SyncResult {
    guard isLegal(tx) else {
      Self.reset(&tx, bufferCount: bufferCount)
      return .reset
    }
    for index in walk(tx.synced, tx.head) {
      rx.slots[Int(index)] = tx.slots[Int(index)]
      tx.slots[Int(index)].flags.remove(.bufferChanged)
    }
    tx.synced = tx.head
    for index in walk(published, tx.synced)
    where !rx.slots[Int(index)].flags.contains(.moreFragments) {
      published = (index + 1) % count
    }
    tx.tail = (rx.synced + count - 1) % count
    return .done
  }

  mutating func syncReceive(bufferCount: UInt32) -> SyncResult {
    var result = SyncResult.done
    if !isLegal(rx) {
      Self.reset(&rx, bufferCount: bufferCount)
      result = .reset
    }
    for index in walk(rx.synced, rx.head) {
      tx.slots[Int(index)] = rx.slots[Int(index)]
      rx.slots[Int(index)].flags.remove(.bufferChanged)
    }
    rx.synced = rx.head
    rx.tail = published
    return result
  }

  /// The buffers of the lane: those that the receiver has not returned are in its slots, the others
  /// in the sender's.
  var buffers: [UInt32] {
    let receivers = Set(walk(rx.synced, tx.synced))
    return (0..<count).map {
      (receivers.contains($0) ? rx : tx).slots[Int($0)].bufferIndex
    }
  }

  subscript(direction: Direction) -> Side {
    get { direction == .transmit ? tx : rx }
    set { if direction == .transmit { tx = newValue } else { rx = newValue } }
  }
}

/// A pipe: its geometry, its lanes, and the users of each ring.
struct ModelPipe {
  /// A ring of one end.
  struct RingKey: Hashable {
    let isMaster: Bool
    let direction: Direction
    let index: Int

    /// The lane that the ring is one side of.
    var lane: LaneKey {
      LaneKey(fromMaster: isMaster == (direction == .transmit), index: index)
    }
  }

  struct LaneKey: Hashable {
    let fromMaster: Bool
    let index: Int
  }

  /// The geometry of the master end.
  let geometry: PortGeometry
  var lanes: [LaneKey: ModelLane] = [:]
  var users: [RingKey: Int] = [:]
  var exclusive: Set<RingKey> = []
  var bindings = 0

  func geometry(master: Bool) -> PortGeometry { master ? geometry : geometry.mirrored }
}
