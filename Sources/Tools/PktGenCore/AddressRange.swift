internal import Glibc
internal import ToolSupport

/// IPv4 or IPv6, selected by `-4` and `-6`.
package enum Family: Hashable, Sendable {
  case ipv4, ipv6

  /// Bytes of an address.
  var addressLength: Int { self == .ipv4 ? 4 : 16 }

  /// Bytes of the network header.
  var headerLength: Int { self == .ipv4 ? 20 : 40 }
}

/// The addresses and ports of the source (`-s`) or the destination (`-d`).
///
/// For IPv4 `addr[:port][-addr[:port]]`, where the second half is the upper end. For IPv6
/// `[group@]addr` or `[group@]\[addr\]:port`, where `group` 0...7 is the index of the 16-bit word
/// that varies.
package struct AddressRange: Hashable, Sendable {
  package let family: Family
  /// The address with the varying word at its lowest value.
  package let first: [UInt8]
  /// The index of the varying 16-bit word in an IPv6 address; an IPv4 address varies as a whole.
  package let group: Int
  /// The values of the varying word.
  package let words: ClosedRange<UInt32>
  package let ports: ClosedRange<UInt16>
  /// The text for the log: `range is A:p to B:q`.
  package let text: String

  static let defaultPort: UInt16 = 1234

  /// Whether the range has more than one address or port.
  package var varies: Bool { words.count > 1 || ports.count > 1 }

  /// Offset of the varying word in the address, in bytes.
  var wordOffset: Int { family == .ipv4 ? 0 : group * 2 }

  /// - Parameters:
  ///   - text: The user's text.
  ///   - family: The address family to parse.
  /// - Throws: ``Refusal`` with the usage text, which names the part that cannot be parsed.
  package init(_ text: String, family: Family) throws(Refusal) {
    let halves = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    let low = try Self.parse(halves[0], family, group: 7, port: Self.defaultPort)
    var high = low
    if halves.count == 2 {
      high = try Self.parse(halves[1], family, group: low.group, port: low.port)
      guard high.group == low.group else {
        throw .usage(
          "'\(text)' has group \(low.group) at one end and group \(high.group) at the other")
      }
    }
    self.family = family
    group = low.group
    // The ends may be in either order; addresses and ports are sorted separately.
    let lowWord = Self.word(low.address, family, group)
    let highWord = Self.word(high.address, family, group)
    words = min(lowWord, highWord)...max(lowWord, highWord)
    ports = min(low.port, high.port)...max(low.port, high.port)
    first = lowWord <= highWord ? low.address : high.address
    let last = lowWord <= highWord ? high.address : low.address
    self.text =
      Self.text(first, group, ports.lowerBound) + " to " + Self.text(last, group, ports.upperBound)
  }

  private struct End {
    var address: [UInt8]
    var group: Int
    var port: UInt16
  }

  private static func parse(
    _ text: Substring, _ family: Family, group: Int, port: UInt16
  ) throws(Refusal) -> End {
    var end = End(address: [], group: group, port: port)
    var address = text
    if family == .ipv6 {
      if let at = address.firstIndex(of: "@") {
        guard let number = LeadingNumber.unsigned(anyBase: address[..<at]) else {
          throw .usage("'\(address[..<at])' is not the number of a 16-bit group, 0...7")
        }
        end.group = min(number, 7)
        address = address[address.index(after: at)...]
      }
      if address.hasPrefix("[") {
        let inner = address.dropFirst()
        guard let close = inner.firstIndex(of: "]") else {
          throw .usage("'\(text)' has no closing bracket")
        }
        let rest = inner[inner.index(after: close)...]
        address = inner[..<close]
        if !rest.isEmpty { end.port = try portNumber(rest, of: text) }
      }
    } else if let colon = address.firstIndex(of: ":") {
      end.port = try portNumber(address[colon...], of: text)
      address = address[..<colon]
    }
    end.address = [UInt8](repeating: 0, count: family.addressLength)
    guard unsafe inet_pton(family.number, String(address), &end.address) == 1 else {
      let name = family == .ipv4 ? "IPv4" : "IPv6"
      throw .usage("'\(address)' is not an \(name) address")
    }
    return end
  }

  /// Parses a colon followed by a port number.
  private static func portNumber(
    _ text: Substring, of whole: Substring
  ) throws(Refusal) -> UInt16 {
    guard text.hasPrefix(":"), let number = LeadingNumber.unsigned(anyBase: text.dropFirst()),
      let port = UInt16(exactly: number)
    else { throw .usage("'\(text)' in '\(whole)' is not a colon and a port, 0...65535") }
    return port
  }

  private static func word(_ address: [UInt8], _ family: Family, _ group: Int) -> UInt32 {
    let bytes = family == .ipv4 ? address[...] : address[group * 2..<group * 2 + 2]
    return bytes.reduce(0) { $0 << 8 | UInt32($1) }
  }

  private static func text(_ address: [UInt8], _ group: Int, _ port: UInt16) -> String {
    var buffer = [UInt8](repeating: 0, count: 64)
    let family: Family = address.count == 4 ? .ipv4 : .ipv6
    unsafe buffer.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      let text = unsafe start.assumingMemoryBound(to: CChar.self)
      _ = unsafe inet_ntop(family.number, address, text, socklen_t(bytes.count))
    }
    let name = String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    return family == .ipv4 ? "\(name):\(port)" : "\(group)@[\(name)]:\(port)"
  }
}

extension Family {
  fileprivate var number: CInt { self == .ipv4 ? AF_INET : AF_INET6 }

  /// The default addresses.
  package var defaultSource: String { self == .ipv4 ? "10.0.0.1" : "fd00::1" }
  package var defaultDestination: String { self == .ipv4 ? "10.1.0.1" : "fd00:1::1" }
}
