import NetmapTestSupport
import Testing

/// Tests of C programs that end netmapd.
enum DaemonVictim {
  /// Runs a test of a program that kills netmapd and makes the library start another one.
  static func expectSuccess(_ client: String, _ rule: Rule) throws {
    let fixture = try DaemonFixture()
    guard let daemon = fixture.daemon else { throw ClientError(text: "netmapd is not running") }
    var environment = try CClients.environment(.preloaded, fixture)
    environment["NETMAP_TEST_DAEMON"] = "\(daemon.process)"
    let outcome = try TestProgram(
      ["\(CClients.folder.get())/\(client)", rule.test], environment: environment
    ).end()
    #expect(outcome.status == 0, "\(outcome.output)")
    fixture.waitUntilGone(within: .seconds(60))
    if outcome.status == 0 { Claim.record(rule.claims, by: rule.text) }
  }
}
