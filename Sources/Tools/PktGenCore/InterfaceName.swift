/// The port named by `-i`.
package enum InterfaceName: Hashable, Sendable {
  /// `null`: sent packets vanish, and packets to receive are always available.
  case null
  /// A TAP device.
  case tap(String)
  /// A live capture of libpcap.
  case pcap(String)
  /// A port specification.
  case netmap(String)

  /// Maximum length of a name in bytes.
  static let lengthMax = 504

  /// - Parameter text: The user's text, at most ``lengthMax`` bytes.
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

  /// The name for output.
  package var text: String {
    switch self {
    case .null: "null"
    case .tap(let name), .pcap(let name), .netmap(let name): name
    }
  }

  /// Whether the name is that of a port on a switch.
  var isSwitchPort: Bool { text.hasPrefix("vale") }

  /// Whether the name is that of an end of a pipe.
  var isPipe: Bool { text.contains { $0 == "{" || $0 == "}" } }
}
