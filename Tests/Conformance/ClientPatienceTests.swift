import NetmapClient
import NetmapTestSupport
import Testing

/// C programs whose netmapd is missing, stopped or another program.
@Suite("C programs without a netmapd that answers")
struct ClientPatienceTests {
  static let rules = [
    Rule(
      "interrupted",
      "a signal ends a request to a stopped netmapd, which leaves nothing behind",
      .works(.failures, "netmapd is stopped")),
    Rule("restarted", "handlers that restart calls run while a request waits, and it goes on"),
    Rule(
      "timed-out",
      "a request that cannot take long ends with ETIMEDOUT",
      .differs(
        .failures, "netmapd is stopped",
        how: "requests that take no time in the kernel end with ETIMEDOUT after seconds")),
    Rule(
      "killed",
      "a request fails with ECONNRESET when netmapd ends, and the next open starts another",
      .differs(
        .failures, "netmapd dies",
        how: "descriptors that are not bound yet are of no more use; ports that are open work on")),
    Rule(
      "rubbish",
      "an answer that is no message fails with EINVAL",
      .works(.failures, "netmapd answers with rubbish")),
    Rule(
      "empty",
      "an answer without contents fails with EINVAL",
      .works(.failures, "netmapd answers with rubbish")),
    Rule(
      "full",
      "a netmapd that has reached a limit gives the errno that it refuses with",
      .works(.failures, "netmapd has reached a limit")),
    Rule(
      "version",
      "an answer of another version fails with EPROTO",
      .works(.failures, "netmapd has another version")),
    Rule(
      "none",
      "a netmapd that has no descriptor for the answer is an EMFILE",
      .works(.failures, "no descriptors (`RLIMIT_NOFILE`)")),
    Rule(
      "missing",
      "without a netmapd the open fails with ENOENT, or with what the start of one says",
      .differs(
        .failures, "no netmapd",
        how: "open fails as without the kernel module, also if the file exists")),
  ]

  @Test("A netmapd that does not answer is an errno, and not a hang", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess(
      "waiting", rule, with: ["NETMAP_TEST_VERSION": "\(Message.version)"])
  }
}
