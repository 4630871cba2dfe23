import NetmapCore
import NetmapTestSupport
import Testing

/// A reference for rules: their text, and the packets that they match, without any code of the filter.
private struct ReferenceRule {
  var allows: Bool
  /// The protocol's name; nil for all protocols.
  var word: String?
  var from: (address: [UInt8], bits: Int)?
  var to: (address: [UInt8], bits: Int)?
  var fromPorts: ClosedRange<UInt16>?
  var toPorts: ClosedRange<UInt16>?

  var text: String {
    var words = [allows ? "allow" : "deny"]
    if let word { words.append(word) }
    for (name, prefix, ports) in [("from", from, fromPorts), ("to", to, toPorts)] {
      if prefix == nil && ports == nil { continue }
      words += [name, prefix.map { "\(Self.print($0.address))/\($0.bits)" } ?? "any"]
      if let ports {
        words += [
          "port",
          ports.count == 1 ? "\(ports.lowerBound)" : "\(ports.lowerBound)-\(ports.upperBound)",
        ]
      }
    }
    return words.joined(separator: " ")
  }

  private static func print(_ address: [UInt8]) -> String {
    if address.count == 4 { return address.map { "\($0)" }.joined(separator: ".") }
    return (0..<8).map {
      String(UInt16(address[2 * $0]) << 8 | UInt16(address[2 * $0 + 1]), radix: 16)
    }
    .joined(separator: ":")
  }

  private static func has(_ address: [UInt8], _ prefix: (address: [UInt8], bits: Int)?) -> Bool {
    guard let prefix else { return true }
    guard address.count == prefix.address.count else { return false }
    return (0..<prefix.bits).allSatisfy { bit in
      (address[bit / 8] ^ prefix.address[bit / 8]) & (0x80 >> UInt8(bit % 8)) == 0
    }
  }

  func holds(for frame: IPFrame) -> Bool {
    switch word {
    case nil, "all": break
    case "arp": if frame.version != 0 { return false }
    case "ip": if frame.version != 4 { return false }
    case "ip6": if frame.version != 6 { return false }
    case "icmp": if frame.version != 4 || frame.transport != 1 { return false }
    case "tcp": if frame.version == 0 || frame.transport != 6 { return false }
    case "udp": if frame.version == 0 || frame.transport != 17 { return false }
    default: if frame.version == 0 || frame.transport != 47 { return false }
    }
    if from != nil || to != nil {
      guard frame.version != 0, Self.has(frame.from, from), Self.has(frame.to, to) else {
        return false
      }
    }
    if fromPorts != nil || toPorts != nil {
      guard frame.showsPorts, fromPorts?.contains(frame.ports.0) ?? true,
        toPorts?.contains(frame.ports.1) ?? true
      else { return false }
    }
    return true
  }

  static func random(_ generator: inout SeededGenerator) -> ReferenceRule {
    var rule = ReferenceRule(allows: generator.chance(50))
    rule.word =
      ["all", "arp", "ip", "ip6", "icmp", "tcp", "udp", "proto 47", nil, nil]
      .randomElement(using: &generator) ?? nil
    if rule.word == "arp" { return rule }
    let sample = IPFrame.random(&generator)
    let isSix =
      rule.word == "ip6" || rule.word != "ip" && rule.word != "icmp" && sample.version == 6
    func prefix() -> (address: [UInt8], bits: Int)? {
      guard generator.chance(50) else { return nil }
      var frame = IPFrame.random(&generator)
      while frame.version != (isSix ? 6 : 4) { frame = IPFrame.random(&generator) }
      return (frame.from, Int.random(in: 0...(isSix ? 128 : 32), using: &generator))
    }
    rule.from = prefix()
    rule.to = prefix()
    func range() -> ClosedRange<UInt16>? {
      guard rule.word == nil || rule.word == "tcp" || rule.word == "udp", generator.chance(40)
      else {
        return nil
      }
      let first = UInt16.random(in: 0...300, using: &generator)
      return
        first...(generator.chance(30) ? first : UInt16.random(in: first...400, using: &generator))
    }
    rule.fromPorts = range()
    rule.toPorts = range()
    return rule
  }
}

@Suite("VALE modules: the filter")
struct FilterTests {
  @Test(
    "random rules and packets: the packets that arrive are those that a simple model allows",
    arguments: 0..<4 as Range<UInt64>)
  func random(number: UInt64) throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0xf117_0000 + number
    var generator = SeededGenerator(seed: seed)
    let vale = try TestSwitch(2)
    var (allowed, denied) = (0, 0)
    for round in 0..<40 {
      let rules = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
        ReferenceRule.random(&generator)
      }
      let denies = generator.chance(50)
      let text =
        rules.map(\.text).joined(separator: generator.chance(50) ? ";" : "\n")
        + "\n# a comment\n" + (denies ? "default deny" : "default allow")
      try vale.choose(.filter(rules: text))
      for _ in 0..<60 {
        let frame = IPFrame.random(&generator)
        let allows = rules.first { $0.holds(for: frame) }?.allows ?? !denies
        vale[0].tx().putPacket(frame.bytes)
        vale[0].tx().sync()
        let expected = allows ? [frame.bytes] : []
        try #require(
          vale[1].rx().takePackets() == expected,
          "NETMAP_TEST_SEED=\(seed), round \(round): \(text), \(frame)")
        if allows { allowed += 1 } else { denied += 1 }
      }
    }
    // The generator must produce both.
    #expect(allowed > 300 && denied > 300)
  }

  @Test("the switch learns nothing from denied packets, and counts them")
  func teachesNothing() throws {
    let vale = try TestSwitch(3)
    try vale.choose(.filter(rules: "deny udp; allow all"))
    var frame = IPFrame()
    frame.source = .station(9)
    vale[0].tx().putPacket(frame.bytes)
    vale[0].tx().sync()
    let toNine = TestFrame(target: .station(9), source: .station(8), number: 1)
    vale[1].tx().send(toNine)
    #expect(
      vale.takeAll() == [[toNine.bytes], [], [toNine.bytes]],
      "the address is unknown, so the frame floods")
    let report = try vale.report()
    #expect(report.active == "filter")
    #expect(report["packets"] == 2)
    #expect(report["dropped"] == 1)
    #expect(vale[0].tx().counters.drops[.filtered] == 1)
  }

  @Test(
    "malformed rules are EINVAL, name the rule and the word, and change nothing",
    arguments: [
      ("allow tcp from 10.0.0/8", "10.0.0/8"), ("permit all", "neither allow nor deny"),
      ("deny udp to any port 80-", "80-"), ("deny udp to any port 9-8", "9-8"),
      ("allow all; deny ip from fd00::/8", "another version"),
      ("allow icmp from any port 7", "no ports"), ("allow ip from 1.2.3.4/33", "0...32"),
      ("allow proto 256", "0...255"), ("allow gre", "gre"), ("default", "neither"),
      ("allow tcp from", "missing"), ("allow tcp to any from any", "from"),
      ("deny all all", "all"), ("deny arp from 10.0.0.1", "arp"),
      ("deny arp to any port 7", "ports"),
    ])
  func malformed(text: String, word: String) throws {
    let vale = try TestSwitch(2)
    try vale.choose(.hub)
    let error = #expect(throws: NetmapError.self) { try vale.choose(.filter(rules: text)) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason.contains(word) == true, "\(error?.reason ?? "")")
    #expect(try vale.report().active == "hub")
  }

  @Test("as many rules as fit work; one more is E2BIG")
  func manyRules() throws {
    let vale = try TestSwitch(2)
    // A rule is 9 bytes with its separator: 900 rules exceed the limit for rules, not that for the text.
    let one = "deny tcp;"
    #expect(throws: Never.self) {
      try vale.choose(.filter(rules: String(repeating: one, count: 800) + "deny udp"))
    }
    vale[0].tx().putPacket(IPFrame().bytes)
    vale[0].tx().sync()
    #expect(vale[1].rx().isSilent)
    let error = #expect(throws: NetmapError.self) {
      try vale.choose(.filter(rules: String(repeating: one, count: 900)))
    }
    #expect(error?.code == .tooLarge)
  }
}
