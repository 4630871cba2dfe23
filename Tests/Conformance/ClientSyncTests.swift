import NetmapTestSupport
import Testing

/// `ioctl` of C programs.
@Suite("Syncs and requests of C programs")
struct ClientSyncTests {
  static let rules = [
    Rule("pipe", "packets pass between processes that open the ends of a pipe"),
    Rule("switch", "packets pass between processes that open ports of a switch"),
    Rule(
      "unbound",
      "before a port is bound syncs fail with ENXIO, and unknown requests with EOPNOTSUPP"),
    Rule("sign-extended", "a request that is kept in an int works"),
    Rule("bound-once", "a descriptor that is bound cannot be bound again"),
    Rule("refusals", "a register request is refused with netmap's errno"),
    Rule("option", "an unknown option is refused, and the descriptor stays free"),
    Rule("legacy", "a legacy request and a new one mean the same pipe"),
    Rule("errno", "calls that succeed leave errno alone"),
  ]

  @Test("A C program's syncs and requests do what they do with the kernel module", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("syncs", rule)
  }

  @Test("A C program's ports outlive netmapd, and new ports start a new one")
  func outlivesDaemon() throws {
    let fixture = try DaemonFixture()
    guard let daemon = fixture.daemon else { throw ClientError(text: "netmapd is not running") }
    var environment = try CClients.environment(.preloaded, fixture)
    environment["NETMAP_TEST_DAEMON"] = "\(daemon.process)"
    let outcome = try TestProgram(
      ["\(CClients.folder.get())/syncs", "outlives"], environment: environment
    ).end()
    #expect(outcome.status == 0, "\(outcome.output)")
    fixture.waitUntilGone(within: .seconds(60))
  }
}
