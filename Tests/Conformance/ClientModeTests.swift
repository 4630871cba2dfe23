import NetmapTestSupport
import Testing

/// Register modes and flags, and flags of slots and rings, in C programs.
@Suite("Modes and flags of C programs")
struct ClientModeTests {
  static let rules = [
    Rule(
      "all", "all rings of a port, in the numbers and sizes that were asked for",
      .works(.modes, "NR_REG_ALL_NIC"),
      .works(.requests, "NETMAP_REQ_REGISTER")),
    Rule(
      "one", "one pair of rings; others are not listed, and one that does not exist is EINVAL",
      .works(.modes, "NR_REG_ONE_NIC")),
    Rule(
      "null", "no rings, only the memory that nr_mem_id names",
      .works(.modes, "NR_REG_NULL")),
    Rule(
      "refused", "unknown modes, legacy modes and host rings of pipes are refused with EINVAL",
      .works(.modes, "NR_REG_DEFAULT")),
    Rule(
      "legacy-pipes", "ends of pipes by the legacy modes, with the number in nr_ringid",
      .works(.modes, "NR_REG_PIPE_MASTER", "NR_REG_PIPE_SLAVE")),
    Rule(
      "exclusive",
      "an exclusive open excludes others until it is closed, and is refused while others have the port",
      .works(.flags, "NR_EXCLUSIVE"),
      .works(.names, "netmap:NAME/x")),
    Rule(
      "one-direction", "transmit rings or receive rings alone",
      .works(.flags, "NR_TX_RINGS_ONLY", "NR_RX_RINGS_ONLY")),
    Rule(
      "monitors", "monitors are refused",
      .refused(
        .flags, "NR_MONITOR_TX", "NR_MONITOR_RX", "NR_ZCOPY_MON", errno: "EOPNOTSUPP",
        because: "not there yet")),
    Rule(
      "virtio", "packets begin with a virtio-net header on a port that has one",
      .works(.flags, "NR_ACCEPT_VNET_HDR")),
    Rule(
      "no-tx-poll", "a wait sends, unless the flag is set and it is not for POLLOUT",
      .works(.flags, "NR_NO_TX_POLL"),
      .works(.waits, "sync by a wait")),
    Rule(
      "do-rx-poll", "the flag is accepted and changes nothing",
      .works(.flags, "NR_DO_RX_POLL")),
    Rule(
      "unknown", "unknown bits of nr_flags are ignored, and return as they came",
      .works(.flags, "other bits")),
    Rule(
      "extra", "extra buffers are granted, and listed from ni_bufs_head",
      .works(.requests, "NETMAP_REQ_REGISTER")),
    Rule(
      "fragments",
      "packets of several slots stay together, exchanged buffers are sent, and NS_REPORT is accepted",
      .works(.slots, "NS_MOREFRAG", "NS_BUF_CHANGED", "NS_REPORT", "NS_RFRAGS")),
    Rule(
      "learning", "the source of a packet is learned also with NS_NO_LEARN, as by netmap's module",
      .works(.slots, "NS_NO_LEARN")),
    Rule(
      "ignored", "flags of host rings and monitors do no harm on a pipe",
      .differs(
        .slots, "NS_TXMON", how: "accepted without effect: monitors are not there yet")),
    Rule(
      "stamps", "a receive sync stores the time",
      .works(.slots, "NR_TIMESTAMP")),
    Rule(
      "own-data", "ptr of slots, the area sem and the slot at tail are the program's, and stay",
      .works(.slots, "ptr", "sem")),
  ]

  @Test(
    "Modes and flags mean to C programs what they mean with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("modes", rule, loading)
  }
}
