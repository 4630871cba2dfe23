import NetmapClient
import NetmapTestSupport
import Testing

/// C programs whose netmapd is missing, stopped or another program.
@Suite("C programs without a netmapd that answers")
struct ClientPatienceTests {
  static let rules = [
    Rule(
      "interrupted", "a signal ends a request to a stopped netmapd, which leaves nothing behind"),
    Rule("restarted", "handlers that restart calls run while a request waits, and it goes on"),
    Rule("timed-out", "a request that cannot take long ends with ETIMEDOUT"),
    Rule(
      "killed",
      "a request fails with ECONNRESET when netmapd ends, and the next open starts another"),
    Rule("rubbish", "an answer that is no message fails with EINVAL"),
    Rule("empty", "an answer without contents fails with EINVAL"),
    Rule("full", "a netmapd that has reached a limit gives the errno that it refuses with"),
    Rule("version", "an answer of another version fails with EPROTO"),
    Rule("none", "a netmapd that has no descriptor for the answer is an EMFILE"),
    Rule(
      "missing", "without a netmapd the open fails with ENOENT, or with what the start of one says"),
  ]

  @Test("A netmapd that does not answer is an errno, and not a hang", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess(
      "waiting", rule, with: ["NETMAP_TEST_VERSION": "\(Message.version)"])
  }
}
