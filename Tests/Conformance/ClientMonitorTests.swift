import NetmapTestSupport
import Testing

/// Monitors in C programs, across processes.
@Suite("Monitors of C programs")
struct ClientMonitorTests {
  static let rules = [
    Rule(
      "sent", "another process's monitor gets what a program sends, with NS_TXMON",
      .works(.flags, "NR_MONITOR_TX"), .works(.slots, "NS_TXMON"),
      .works(.names, "netmap:NAME/t")),
    Rule(
      "received",
      "a monitor of an end of a pipe gets packets although the program does not receive them",
      .differs(
        .flags, "NR_MONITOR_RX",
        how:
          "what a switch port or an interface receives is copied when the port's program syncs its receive rings, not before"
      ),
      .works(.names, "netmap:NAME/r")),
    Rule("stopped", "a monitor that is stopped or killed costs the port no packet"),
    Rule(
      "port-ends",
      "when a monitored port is closed, the monitor's packets stay readable and its waits report POLLERR"
    ),
    Rule("switch", "ports of switches can be monitored in both directions"),
    Rule(
      "refused",
      "ports that no program has open are EINVAL; a monitor sends nothing"),
    Rule(
      "exchanged",
      "a monitor without copies gets the buffers that a program has released, or that come back to a sender",
      .differs(
        .flags, "NR_ZCOPY_MON", how: "EOPNOTSUPP for an interface that is on a switch")),
    Rule(
      "exchanged-switch",
      "a monitor without copies of a switch port gets what its program has released, and what it sends at once"
    ),
    Rule(
      "exchange-stopped",
      "a monitor without copies that is stopped or killed costs the port neither packets nor buffers"
    ),
    Rule(
      "suffixes", "nm_open opens monitors by the letters t, r and z",
      .differs(
        .names, "netmap:NAME/z", how: "EOPNOTSUPP for an interface that is on a switch")),
  ]

  @Test(
    "C programs monitor ports as with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("monitors", rule, loading)
  }
}
