internal import Glibc

/// The rules of a ``PacketFilter`` as text, separated by `;` or line ends:
///
///     allow|deny [arp|ip|ip6|icmp|icmp6|tcp|udp|sctp|proto N]
///                [from any|ADDRESS[/BITS] [port N[-M]]] [to any|ADDRESS[/BITS] [port N[-M]]]
///     default allow|deny
///
/// `allow all` and `allow` mean the same. `arp` takes no addresses and no ports. Without a default,
/// packets that match no rule are allowed. `tcp`, `udp`, `sctp` and `proto` match both versions of IP,
/// `ip` matches version 4. `#` begins a comment.
struct FilterRules: Hashable, Sendable {
  var rules: [FilterRule] = []
  /// Whether packets that match no rule are denied.
  var denies = false

  /// - Throws: ``NetmapError`` `EINVAL` that quotes the rule and names the fault, `E2BIG` for too
  ///   many rules.
  init(_ text: String) throws(NetmapError) {
    for line in text.split(whereSeparator: { $0 == ";" || $0.isNewline }) {
      let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
        .map { $0.lowercased() }
      guard !words.isEmpty else { continue }
      var reader = RuleReader(words: words)
      try reader.read(into: &self)
    }
    guard rules.count <= FilterLayout.ruleCountMax else {
      throw NetmapError(
        .tooLarge, "configure", "filter",
        reason: "\(rules.count) rules are more than the limit, \(FilterLayout.ruleCountMax)",
        remedy: "combine rules with shorter prefixes or wider ranges of ports")
    }
  }
}

/// Reads one rule, word by word.
private struct RuleReader {
  let words: [String]
  var place = 0
  var rule = FilterRule()

  func refusal(_ reason: String, _ remedy: String = "") -> NetmapError {
    NetmapError(
      .invalidArgument, "configure", "filter",
      reason: "in the rule '\(words.joined(separator: " "))': \(reason)", remedy: remedy)
  }

  var next: String? { place < words.count ? words[place] : nil }

  mutating func take(_ word: String) -> Bool {
    guard next == word else { return false }
    place += 1
    return true
  }

  mutating func take(_ what: String, after word: String) throws(NetmapError) -> String {
    guard let value = next else { throw refusal("\(what) is missing after '\(word)'") }
    place += 1
    return value
  }

  mutating func action() throws(NetmapError) -> Bool {
    if take("allow") { return false }
    if take("deny") { return true }
    throw refusal(
      "the action is neither allow nor deny",
      "write for example: allow tcp to any port 80; default deny")
  }

  mutating func read(into list: inout FilterRules) throws(NetmapError) {
    if take("default") {
      list.denies = try action()
    } else {
      if try action() { rule.conditions.insert(.denies) }
      try readKind()
      if take("from") { try readEnd("from", \.source, \.sourcePorts, .sourcePorts) }
      if take("to") { try readEnd("to", \.destination, \.destinationPorts, .destinationPorts) }
      list.rules.append(rule)
    }
    if let word = next { throw refusal("'\(word)' is not expected") }
  }

  private mutating func readKind() throws(NetmapError) {
    guard let word = next, word != "from", word != "to" else { return }
    place += 1
    switch word {
    case "all", "any": break
    case "arp": setEtherType(0x0806)
    case "ip", "ip4": setFamily(4)
    case "ip6": setFamily(6)
    case "icmp":
      setFamily(4)
      setTransport(1)
    case "icmp6":
      setFamily(6)
      setTransport(58)
    case "tcp": setTransport(6)
    case "udp": setTransport(17)
    case "sctp": setTransport(132)
    case "proto":
      let text = try take("a protocol's number", after: word)
      guard let number = UInt8(text) else { throw refusal("'\(text)' is not 0...255") }
      setTransport(number)
    default: throw refusal("'\(word)' is not a protocol", "use 'proto NUMBER' for others")
    }
  }

  private mutating func setEtherType(_ type: UInt16) {
    rule.conditions.insert(.etherType)
    rule.etherType = type
  }

  private mutating func setTransport(_ number: UInt8) {
    rule.conditions.insert(.transport)
    rule.transport = number
  }

  private mutating func setFamily(_ family: UInt8) {
    rule.conditions.insert(.family)
    rule.family = family
  }

  private mutating func readEnd(
    _ word: String, _ prefix: WritableKeyPath<FilterRule, FilterRule.Prefix>,
    _ ports: WritableKeyPath<FilterRule, FilterRule.PortRange>,
    _ condition: FilterRule.Conditions
  ) throws(NetmapError) {
    let text = try take("an address", after: word)
    if text != "any" {
      let (family, value) = try address(text)
      guard !rule.conditions.contains(.etherType) else {
        throw refusal("'arp' takes no addresses: the filter reads those of IP packets only")
      }
      guard !rule.conditions.contains(.family) || rule.family == family else {
        throw refusal("'\(text)' is of another version of IP than the rest of the rule")
      }
      setFamily(family)
      rule[keyPath: prefix] = value
    }
    guard take("port") else { return }
    let range = try take("a number", after: "port")
    let bounds = range.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
    guard (1...2).contains(bounds.count), let first = bounds[0],
      let last = bounds[bounds.count - 1],
      first <= last
    else {
      throw refusal("'\(range)' is neither a port nor a range of ports", "write 80 or 8000-8080")
    }
    guard
      !rule.conditions.contains(.transport) || [6, 17, 132].contains(rule.transport),
      !rule.conditions.contains(.etherType)
    else { throw refusal("the protocol has no ports") }
    rule.conditions.insert(condition)
    rule[keyPath: ports] = FilterRule.PortRange(first: first, last: last)
  }

  private func address(_ text: String) throws(NetmapError) -> (UInt8, FilterRule.Prefix) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    var bytes = [UInt8](repeating: 0, count: 16)
    let isSix = parts[0].contains(":")
    guard parts.count <= 2, unsafe inet_pton(isSix ? AF_INET6 : AF_INET, parts[0], &bytes) == 1
    else { throw refusal("'\(text)' is not an address", "write 10.0.0.0/8 or fd00::/8") }
    let width = isSix ? 128 : 32
    guard let bits = parts.count == 2 ? Int(parts[1]) : width, (0...width).contains(bits) else {
      throw refusal("'\(text)': a prefix has 0...\(width) bits")
    }
    func number(_ part: ArraySlice<UInt8>) -> UInt64 { part.reduce(0) { $0 << 8 | UInt64($1) } }
    func mask(_ bits: Int, _ width: Int) -> UInt64 {
      let ones = bits <= 0 ? 0 : UInt64.max << UInt64(64 - min(bits, width))
      return ones >> UInt64(64 - width)
    }
    var prefix = FilterRule.Prefix()
    if isSix {
      prefix.address = FlowAddress(high: number(bytes[0..<8]), low: number(bytes[8..<16]))
      prefix.mask = FlowAddress(high: mask(bits, 64), low: mask(bits - 64, 64))
    } else {
      prefix.address = FlowAddress(low: number(bytes[0..<4]))
      prefix.mask = FlowAddress(low: mask(bits, 32))
    }
    return (isSix ? 6 : 4, prefix)
  }
}
