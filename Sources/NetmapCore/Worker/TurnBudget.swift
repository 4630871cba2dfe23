/// The amount that a task of the worker may still move in one turn and direction, over all of its
/// rings.
///
/// It limits both slots and bytes, because neither limits the other: empty slots have no bytes, and
/// large buffers hold many bytes in few slots. Looking at a ring costs slots too, even if the ring
/// is empty.
struct TurnBudget {
  private(set) var slots: Int
  private(set) var bytes: Int

  init(slots: Int = slotsMax, bytes: Int = bytesMax) {
    (self.slots, self.bytes) = (slots, bytes)
  }

  /// The most slots moved in one turn and direction, and the most of these from one ring.
  static let slotsMax = 1024
  static let ringSlotsMax: UInt32 = 256
  static let bytesMax = 1 << 20
  /// The cost of looking at a ring, slots: its two or four syncs take about as long as moving so
  /// many packets.
  static let ringCost = 16
  /// The least cost of a slot, bytes: about the memory that is touched for an empty slot.
  static let slotBytesMin = 64

  var isSpent: Bool { slots <= 0 || bytes <= 0 }

  /// How many slots of one ring may still be moved.
  var ringLimit: UInt32 { min(Self.ringSlotsMax, UInt32(truncatingIfNeeded: max(0, slots))) }

  /// Charges for a look at a ring.
  mutating func chargeRing() { slots &-= Self.ringCost }

  /// Charges for a slot that is moved.
  @inline(__always)
  mutating func chargeSlot(_ length: Int) {
    slots &-= 1
    bytes &-= max(length, Self.slotBytesMin)
  }
}

/// Selects the ring that a task looks at first in its next turn: the one after the last ring that
/// had a budget.
struct RingRound {
  private var next = 0

  /// Visits rings one after the other, each at most once, until the budget is spent.
  ///
  /// - Parameters:
  ///   - count: The number of rings.
  ///   - budget: What may still be moved.
  ///   - body: Moves packets of one ring, and charges them to the budget.
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
