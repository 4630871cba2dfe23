/// What a task of the worker may still move in one direction and turn, over all of its rings.
///
/// Slots and bytes are counted, because either can be without number: slots of no length have no bytes, and bytes
/// in large buffers need few slots. A ring that is looked at costs slots too, also when nothing is in it.
struct TurnBudget {
  private(set) var slots: Int
  private(set) var bytes: Int

  init(slots: Int = slotsMax, bytes: Int = bytesMax) {
    (self.slots, self.bytes) = (slots, bytes)
  }

  /// Slots that are moved in one turn and direction; and of one ring.
  static let slotsMax = 1024
  static let ringSlotsMax: UInt32 = 256
  static let bytesMax = 1 << 20
  /// What a look at a ring costs: its two or four syncs take about as long as it takes to move so many packets.
  static let ringCost = 16
  /// The least that a slot counts, bytes: about what is touched for a slot of no length.
  static let slotBytesMin = 64

  var isSpent: Bool { slots <= 0 || bytes <= 0 }

  /// How many slots of one ring may still be moved.
  var ringLimit: UInt32 { min(Self.ringSlotsMax, UInt32(truncatingIfNeeded: max(0, slots))) }

  /// A ring is looked at.
  mutating func chargeRing() { slots &-= Self.ringCost }

  /// A slot is moved.
  @inline(__always)
  mutating func chargeSlot(_ length: Int) {
    slots &-= 1
    bytes &-= max(length, Self.slotBytesMin)
  }
}

/// Which ring a task looks at first in its next turn: the one after the last that it had a budget for.
struct RingRound {
  private var next = 0

  /// Looks at rings one after the other, each once at most, until the budget is spent.
  ///
  /// - Parameters:
  ///   - count: How many rings there are.
  ///   - budget: What may be moved.
  ///   - body: Moves packets of one ring, and charges them.
  mutating func go(
    over count: Int, _ budget: inout TurnBudget, _ body: (Int, inout TurnBudget) -> Void
  ) {
    for _ in 0..<count where !budget.isSpent {
      let index = next % count
      next = (index &+ 1) % count
      budget.chargeRing()
      body(index, &budget)
    }
  }
}
