import NetmapTestSupport
import Testing

/// C programs that lose netmapd, that never had it, or that have no resources left.
@Suite("Failures that C programs meet")
struct ClientFailureTests {
  static let impostors = [
    Rule("closes", "a process at the socket that hangs up makes calls fail"),
    Rule("mute", "a process at the socket that never answers makes calls fail in limited time"),
    Rule("babbles", "a process at the socket that answers with rubbish makes calls fail"),
    Rule("deaf", "a process at the socket that accepts nothing makes calls fail"),
  ]
  static let rules = [
    Rule(
      "socket-calls",
      "what a program sends, receives and shuts down on the descriptor harms no other process",
      .works(.descriptors, "calls of sockets")),
    Rule(
      "socket-messages", "messages with descriptors on the descriptor do no harm",
      .works(.descriptors, "calls of sockets")),
  ]
  static let shortages = [
    Rule(
      "descriptors",
      "without free descriptors each step works or fails with an errno, and later ones work",
      .works(.failures, "no descriptors (`RLIMIT_NOFILE`)")),
    Rule(
      "memory", "without memory each step works or fails with an errno, and later ones work",
      .works(.failures, "no memory (`RLIMIT_AS`)")),
    Rule(
      "many", "ports can be opened up to the limit of descriptors, and again after they are closed",
      .works(.failures, "no descriptors (`RLIMIT_NOFILE`)")),
  ]

  @Test("Without resources, calls fail and nothing else", arguments: shortages)
  func shortage(_ rule: Rule) throws {
    try CClients.expectSuccess("exhaustion", rule)
  }

  @Test("Calls for sockets on a descriptor do no harm", arguments: rules, CClients.Loading.allCases)
  func sockets(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("failures", rule, loading)
  }

  @Test("A C program in a wait, a sync and a request survives the death of netmapd")
  func killed() throws {
    try DaemonVictim.expectSuccess(
      "failures",
      Rule(
        "killed", "netmapd may be killed while a program waits, syncs and binds",
        .differs(
          .failures, "netmapd dies",
          how: "descriptors that are not bound yet are of no more use; ports that are open work on")
      ))
  }

  @Test("Without netmapd, opening fails", arguments: CClients.Loading.allCases)
  func missing(_ loading: CClients.Loading) throws {
    let fixture = try DaemonFixture(starts: false)
    try CClients.expectSuccess(
      "failures",
      Rule(
        "missing", "without netmapd, and without a program to start it, open fails",
        .differs(
          .failures, "no netmapd",
          how: "open fails as without the kernel module, also if the file exists")),
      loading, fixture, with: ["NETMAPD": "/nonexistent/netmapd"])
  }

  @Test("A process at netmapd's socket that is no netmapd makes calls fail", arguments: impostors)
  func impostor(_ rule: Rule) throws {
    try CClients.expectSuccess("failures", rule, .preloaded, try DaemonFixture(starts: false))
  }
}
