import NetmapTestSupport
import Testing

/// What bridges, load balancers and replayers of packets rely on.
@Suite("Patterns of C programs")
struct ClientPatternTests {
  static let rules = [
    Rule("timestamps", "a receive sync stamps the ring, also without packets"),
    Rule(
      "open-twice",
      "threads sync the two descriptors of a port that is open twice",
      .works(.descriptors, "second open of a port")),
    Rule(
      "later-open",
      "a second open shows the ring as it is, and all slots come back to the sender",
      .works(.descriptors, "second open of a port")),
    Rule("left-behind", "packets stay when the receiver closes its end of a pipe"),
    Rule("swaps", "buffers move between pipes of a region without a copy"),
    Rule("own-words", "a sync leaves the program's own words in rings and slots alone"),
    Rule("fragments", "a packet of several slots arrives as a whole"),
  ]

  @Test(
    "A C program's way of using rings works as with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("patterns", rule, loading)
  }
}
