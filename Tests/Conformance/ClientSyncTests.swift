import NetmapTestSupport
import Testing

/// `ioctl` of C programs.
@Suite("Syncs and requests of C programs")
struct ClientSyncTests {
  static let rules = [
    Rule(
      "pipe", "packets pass between processes that open the ends of a pipe",
      .works(.commands, "NIOCTXSYNC", "NIOCRXSYNC", "NIOCCTRL"),
      .works(.names, "NAME{ID", "NAME}ID"),
      .works(.calls, "ioctl")),
    Rule(
      "switch", "packets pass between processes that open ports of a switch",
      .works(.names, "valeSWITCH:PORT")),
    Rule(
      "unbound",
      "before a port is bound syncs fail with ENXIO, and unknown requests with EOPNOTSUPP",
      .works(.commands, "NIOCTXSYNC", "NIOCRXSYNC", "unknown commands")),
    Rule(
      "sign-extended", "a request that is kept in an int works",
      .works(.commands, "NIOCCTRL")),
    Rule(
      "bound-once", "a descriptor that is bound cannot be bound again: EBUSY",
      .works(.requests, "NETMAP_REQ_REGISTER")),
    Rule(
      "refusals", "a register request is refused with netmap's errno",
      .works(.requests, "NETMAP_REQ_REGISTER")),
    Rule(
      "option", "an unknown option is refused, and the descriptor stays free",
      .works(.options, "unknown options")),
    Rule(
      "legacy", "a legacy request and a new one mean the same pipe",
      .works(.commands, "NIOCREGIF")),
    Rule(
      "errno", "calls that succeed leave errno alone",
      .works(.calls, "ioctl", "poll", "mmap", "close")),
  ]

  @Test(
    "A C program's syncs and requests do what they do with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("syncs", rule, loading)
  }

  @Test("A C program's ports outlive netmapd, and new ports start a new one")
  func outlivesDaemon() throws {
    try DaemonVictim.expectSuccess(
      "syncs",
      Rule(
        "outlives", "open ports outlive netmapd, and new ports start a new one",
        .differs(
          .failures, "netmapd dies",
          how: "descriptors that are not bound yet are of no more use; ports that are open work on")
      ))
  }
}
