import Glibc

@testable import NetmapCore

extension FuzzTarget {
  /// The text of the rules; behind a NUL, a packet.
  static let filterRules = FuzzTarget(
    name: "filter-rules", subject: "rules of the filter module, and the packets that they decide"
  ) { bytes in
    let parts = bytes.split(
      separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    let text = String(decoding: parts[0], as: UTF8.self)
    let packet = parts.count > 1 ? Array(parts[1]) : []
    let list: FilterRules
    do throws(NetmapError) {
      list = try FilterRules(text)
    } catch {
      require(error.code == .invalidArgument || error.code == .tooLarge, "EINVAL or E2BIG")
      require(!error.reason.isEmpty, "a refusal says why")
      return
    }
    require(list.rules.count <= FilterLayout.ruleCountMax, "the rules fit their area")
    let printed =
      list.rules.map(\.text).joined(separator: ";")
      + (list.denies ? ";default deny" : "\n# the default is allow")
    require((try? FilterRules(printed)) == list, "'\(printed)' means the same as '\(text)'")
    // The rules in shared memory decide as a slow second reading of their text.
    let flow = unsafe packet.withUnsafeBytes { bytes in
      unsafe bytes.baseAddress.map { unsafe FlowHeaders($0, bytes.count) } ?? FlowHeaders()
    }
    for rule in list.rules {
      require(rule.matches(flow) == rule.holds(for: flow), "\(rule.text) on \(flow)")
    }
  }
}

extension FilterRule {
  /// The rule as a user writes it.
  fileprivate var text: String {
    var words = [denies ? "deny" : "allow"]
    let isIP = conditions.contains(.family)
    if conditions.contains(.etherType) {
      words.append("arp")
    } else if conditions.contains(.transport) {
      words.append(
        transport == 1 && isIP && family == 4 && !hasEnds ? "icmp" : "proto \(transport)")
    } else if isIP, !hasEnds {
      words.append(family == 4 ? "ip" : "ip6")
    }
    // The condition of a version is written as an address that matches every packet.
    let any = isIP && hasEnds ? (family == 6 ? "::/0" : "0.0.0.0/0") : "any"
    for (word, prefix, ports, condition) in [
      ("from", source, sourcePorts, Conditions.sourcePorts),
      ("to", destination, destinationPorts, Conditions.destinationPorts),
    ] {
      let address = prefix == Prefix() ? any : Self.text(prefix, family)
      words += [word, address]
      if conditions.contains(condition) { words += ["port", "\(ports.first)-\(ports.last)"] }
    }
    return words.joined(separator: " ")
  }

  /// Whether the rule must be written with addresses.
  private var hasEnds: Bool {
    conditions.contains(.family)
      && !(conditions.contains(.transport) && transport == 1 && family == 4
        && source == Prefix() && destination == Prefix())
      && (source != Prefix() || destination != Prefix() || conditions.contains(.transport))
  }

  private static func bits(_ mask: FlowAddress) -> Int {
    mask.high.nonzeroBitCount + mask.low.nonzeroBitCount
  }

  private static func text(_ prefix: Prefix, _ family: UInt8) -> String {
    let address = prefix.address
    if family == 4 {
      return (0..<4).map { "\(address.low >> (24 - 8 * $0) & 255)" }.joined(separator: ".")
        + "/\(bits(prefix.mask))"
    }
    return [address.high, address.low].flatMap { half in
      (0..<4).map { String(half >> (48 - 16 * UInt64($0)) & 0xffff, radix: 16) }
    }.joined(separator: ":") + "/\(bits(prefix.mask))"
  }

  /// A second reading of a rule, bit by bit.
  fileprivate func holds(for flow: FlowHeaders) -> Bool {
    func bit(_ address: FlowAddress, _ index: Int) -> Bool {
      (index < 64 ? address.high >> UInt64(63 - index) : address.low >> UInt64(127 - index)) & 1
        != 0
    }
    func has(_ prefix: Prefix, _ address: FlowAddress) -> Bool {
      let first = family == 4 ? 96 : 0
      return (first..<first + Self.bits(prefix.mask)).allSatisfy {
        bit(prefix.address, $0) == bit(address, $0)
      }
    }
    let isIP = flow.family != .other
    if conditions.contains(.etherType), flow.etherType != 0x0806 { return false }
    if conditions.contains(.family) {
      guard isIP, Int(flow.family.rawValue) == Int(family) else { return false }
      guard has(source, flow.source), has(destination, flow.destination) else { return false }
    }
    if conditions.contains(.transport), !isIP || flow.protocolNumber != transport { return false }
    for (condition, range, port) in [
      (Conditions.sourcePorts, sourcePorts, flow.sourcePort),
      (.destinationPorts, destinationPorts, flow.destinationPort),
    ] where conditions.contains(condition) {
      guard flow.hasPorts, port >= range.first, port <= range.last else { return false }
    }
    return true
  }
}
