/// An Ethernet address.
package struct MACAddress: Hashable, Sendable {
  /// The six bytes in the order of a frame.
  package let bytes: [UInt8]

  /// Parses six hexadecimal numbers separated by colons, as ether_aton(3) does; `2:0:0:0:0:1` is
  /// valid.
  package init?(_ text: String) {
    let words = text.split(separator: ":", omittingEmptySubsequences: false)
    let bytes = words.compactMap { word in
      word.utf8.count <= 2 && !word.hasPrefix("+") && !word.hasPrefix("-")
        ? UInt8(word, radix: 16) : nil
    }
    guard words.count == 6, bytes.count == 6 else { return nil }
    self.bytes = bytes
  }

  static let zeroText = "00:00:00:00:00:00"
  static let broadcastText = "ff:ff:ff:ff:ff:ff"
}
