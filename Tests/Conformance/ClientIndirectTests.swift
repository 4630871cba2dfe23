import NetmapTestSupport
import Testing

/// Packets that lie in a C program's own memory (`NS_INDIRECT`).
@Suite("Indirect packets of C programs")
struct ClientIndirectTests {
  static let rules = [
    Rule("allowed", "with NETMAP_INDIRECT=1 a switch sends packets from the program's own memory"),
    Rule(
      "many", "many indirect packets may be in a batch, and be parts of packets of several slots"),
    Rule(
      "wild", "a wild address costs its packet and is counted; the last byte of a page can be sent",
      .works(.failures, "`ptr` of an indirect packet")),
    Rule("meanwhile", "memory that another thread unmaps costs packets, and nothing else"),
  ]

  private static func variables(_ fixed: [String: String] = [:]) -> [String: String] {
    fixed.merging(["NETMAP_TEST_PORTS": "\(TestProgram.built("netmap")) ports --json"]) { $1 }
  }

  @Test(
    "With permission, a C program's indirect packets are sent", arguments: rules,
    CClients.Loading.allCases)
  func allowed(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess(
      "indirect", rule, loading, with: Self.variables(["NETMAP_INDIRECT": "1"]))
  }

  @Test(
    "Without permission, a C program's indirect packets are dropped and counted",
    arguments: ["", "0"])
  func refused(value: String) throws {
    let rule = Rule(
      "refused",
      "indirect packets are dropped, and counted as indirect, unless the user allows them",
      .differs(
        .slots, "NS_INDIRECT",
        how:
          "sent only with `netmap exec --indirect` or `NETMAP_INDIRECT=1`, and never from isolated ports"
      ))
    try CClients.expectSuccess(
      "indirect", rule, with: Self.variables(value.isEmpty ? [:] : ["NETMAP_INDIRECT": value]))
  }
}
