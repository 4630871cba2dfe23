/// Slot and ring counts as requests carry them: hints on the way in, where 0 leaves the choice to the engine, and facts
/// on the way out.
package struct RingCounts: Hashable, Sendable {
  /// `nr_tx_slots`: slots of each transmit ring.
  package var transmitSlots: UInt32 = 0
  /// `nr_rx_slots`: slots of each receive ring.
  package var receiveSlots: UInt32 = 0
  /// `nr_tx_rings`
  package var transmitRings: UInt16 = 0
  /// `nr_rx_rings`
  package var receiveRings: UInt16 = 0
  /// `nr_host_tx_rings`; 0 in requests that have no such field.
  package var hostTransmitRings: UInt16 = 0
  /// `nr_host_rx_rings`; 0 in requests that have no such field.
  package var hostReceiveRings: UInt16 = 0

  /// Creates counts of 0.
  package init() {}
}

extension RingCounts {
  init<let size: Int>(_ block: ByteBlock<size>, _ layout: RingCountsLayout) {
    transmitSlots = block.load(layout.transmitSlots)
    receiveSlots = block.load(layout.receiveSlots)
    transmitRings = block.load(layout.transmitRings)
    receiveRings = block.load(layout.receiveRings)
    if let offset = layout.hostTransmitRings { hostTransmitRings = block.load(offset) }
    if let offset = layout.hostReceiveRings { hostReceiveRings = block.load(offset) }
  }
}

extension ByteBlock {
  mutating func store(_ counts: RingCounts, _ layout: RingCountsLayout) {
    store(counts.transmitSlots, at: layout.transmitSlots)
    store(counts.receiveSlots, at: layout.receiveSlots)
    store(counts.transmitRings, at: layout.transmitRings)
    store(counts.receiveRings, at: layout.receiveRings)
    if let offset = layout.hostTransmitRings { store(counts.hostTransmitRings, at: offset) }
    if let offset = layout.hostReceiveRings { store(counts.hostReceiveRings, at: offset) }
  }
}
