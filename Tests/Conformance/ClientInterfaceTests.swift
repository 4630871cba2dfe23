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
  ]

  @Test("A C program's slots do what they do with the kernel module", arguments: rules)
  func rule(_ rule: Rule) throws {
    try NetworkNamespace.run {
      _ = try VethPair()
      try CClients.expectSuccess("interfaces", rule)
    }
  }
}
