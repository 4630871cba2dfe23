/// What `-i` names.
package enum InterfaceName: Hashable, Sendable {
  /// `null`: packets vanish when sent, and are there at once when received.
  case null
  /// A TAP device.
  case tap(String)
  /// A live capture of libpcap.
  case pcap(String)
  /// A port specification.
  case netmap(String)

  /// Bytes of a name, at most.
  static let lengthMax = 504

  /// - Parameter text: What the user wrote, at most ``lengthMax`` bytes.
  package init(_ text: String) {
    if text == "null" {
      self = .null
    } else if text.hasPrefix("tap:") {
      self = .tap(String(text.dropFirst(4)))
    } else if text.hasPrefix("pcap:") {
      self = .pcap(String(text.dropFirst(5)))
    } else if text.hasPrefix("netmap:") || text.hasPrefix("vale") {
      self = .netmap(text)
    } else if text.hasPrefix("tap") {
      self = .tap(text)
    } else {
      self = .netmap("netmap:" + text)
    }
  }

  /// The name as it is printed.
  package var text: String {
    switch self {
    case .null: "null"
    case .tap(let name), .pcap(let name), .netmap(let name): name
    }
  }

  /// Whether it is a port of a switch.
  var isSwitchPort: Bool { text.hasPrefix("vale") }
}
