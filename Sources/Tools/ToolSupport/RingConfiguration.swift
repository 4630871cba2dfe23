package import Netmap

/// Numbers of rings and slots, as in `-C` of pkt-gen and vale-ctl: `tx_slots[,rx_slots[,tx_rings[,rx_rings]]]`.
///
/// The first number of a pair sets both directions, and the second overrides the receive direction. 0 or a
/// missing number leaves the choice to netmap.
package struct RingConfiguration: Hashable, Sendable {
  package var hints = RingGeometryHints.none
  /// Numbers after the fourth, which have no meaning.
  package var ignored: [String] = []

  /// Parses the text.
  ///
  /// Numbers may end in `k`, `M` or `G`. Of other text the leading digits count, and text without digits is 0. A
  /// number out of range becomes the nearest number in range. The engine limits the hints in any case.
  package init(_ text: String) {
    for (index, word) in text.split(separator: ",").enumerated() {
      let number = max(0, LeadingNumber.scaled(String(word)) ?? LeadingNumber(word).value)
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
