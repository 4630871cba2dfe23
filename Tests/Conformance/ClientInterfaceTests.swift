import NetmapTestSupport
import Testing

/// Network interfaces of C programs.
@Suite("Interfaces of C programs", .serialized)
struct ClientInterfaceTests {
  static let rules = [
    Rule(
      "remembers",
      "a program that remembers the address of each receive slot's buffer sees every packet",
      .works(.slots, "`buf_idx` of receive slots of interfaces")),
    Rule(
      "multicasts",
      "one buffer can be sent several times, by two interfaces",
      .works(.slots, "one buffer in several transmit slots")),
    Rule(
      "offsets",
      "packets begin where their slots say, in both directions",
      .works(.options, "NETMAP_REQ_OPT_OFFSETS")),
    Rule(
      "down",
      "while an interface is down and after it, syncs and polls succeed, and frames flow again",
      .works(.failures, "an interface that is down")),
    Rule(
      "host-rings",
      "what the host sends arrives in the host ring, and what the host ring is given, the host receives",
      .works(.modes, "NR_REG_NIC_SW"), .works(.names, "netmap:NAME*")),
    Rule(
      "host-alone",
      "while host rings alone are bound, the host reaches the wire, as with the kernel module",
      .works(.modes, "NR_REG_SW", "NR_REG_ONE_SW"), .works(.names, "netmap:NAME^")),
    Rule(
      "memory",
      "rings of an interface can lie in the program's memory, and are then served by TPACKET_V3; host rings cannot: EOPNOTSUPP"
    ),
    Rule(
      "transparent",
      "slots that are released with NS_FORWARD go to the other side, in a port that holds host rings",
      .differs(
        .slots, "NS_FORWARD", "NR_FORWARD",
        how: "the port must hold the host ring to which packets go; they are copied, not exchanged")
    ),
  ]

  @Test("A C program's slots do what they do with the kernel module", arguments: rules)
  func rule(_ rule: Rule) throws {
    try NetworkNamespace.run {
      _ = try VethPair()
      try CClients.expectSuccess("interfaces", rule)
    }
  }
}
