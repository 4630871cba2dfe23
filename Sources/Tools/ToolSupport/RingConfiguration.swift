package import Netmap

/// Rings and slots as `-C` of pkt-gen and vale-ctl takes them:
/// `tx_slots[,rx_slots[,tx_rings[,rx_rings]]]`.
///
/// One number sets both directions, and the next one overrides the receiving one. 0 or nothing leaves
/// the choice to netmap.
package struct RingConfiguration: Hashable, Sendable {
  package var hints = RingGeometryHints.none
  /// Numbers beyond the fourth, which mean nothing.
  package var ignored: [String] = []

  /// Reads the text. Words count as 0 and what is out of range becomes the nearest number in range, as
  /// netmap limits the wishes anyway.
  package init(_ text: String) {
    for (index, word) in text.split(separator: ",").enumerated() {
      let number = max(0, LeadingNumber(word).value)
      switch index {
      case 0:
        hints.transmitSlots = UInt32(clamping: number)
        hints.receiveSlots = UInt32(clamping: number)
      case 1: hints.receiveSlots = UInt32(clamping: number)
      case 2:
        hints.transmitRings = UInt16(clamping: number)
        hints.receiveRings = UInt16(clamping: number)
      case 3: hints.receiveRings = UInt16(clamping: number)
      default: ignored.append(String(word))
      }
    }
  }
}
