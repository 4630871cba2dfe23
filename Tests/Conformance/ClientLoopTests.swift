import NetmapTestSupport
import Testing

/// CSB mode and sync loops of C programs.
@Suite("Sync loops of C programs")
struct ClientLoopTests {
  private static let direct =
    "the loop's thread syncs direct rings, soon after the write to the eventfd and not within it"

  static let rules = [
    Rule(
      "registered",
      "a port is bound in CSB mode for itself alone, in aligned memory that the program can use",
      .works(.options, "NETMAP_REQ_OPT_CSB")),
    Rule(
      "enabled",
      "CSB mode begins, and gets other blocks, by a request, but not while a loop runs: EBUSY",
      .works(.requests, "NETMAP_REQ_CSB_ENABLE")),
    Rule(
      "refused", "in CSB mode syncs are EBUSY, and waits POLLERR",
      .works(.commands, "NIOCTXSYNC", "NIOCRXSYNC")),
    Rule(
      "not-started", "a loop that cannot begin is refused with netmap's errno",
      .works(.requests, "NETMAP_REQ_SYNC_KLOOP_START")),
    Rule(
      "sticky", "a request to stop that finds no loop stops the next one",
      .works(.requests, "NETMAP_REQ_SYNC_KLOOP_STOP")),
    Rule(
      "pipe", "a loop moves the packets of a pipe, and leaves the cursors in the rings alone",
      .works(.requests, "NETMAP_REQ_SYNC_KLOOP_START")),
    Rule(
      "switch", "a loop moves the packets of a switch port",
      .works(.requests, "NETMAP_REQ_SYNC_KLOOP_START")),
    Rule(
      "eventfds", "a loop and its program sleep, and wake each other by eventfds",
      .works(.options, "NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS")),
    Rule(
      "direct", "with direct rings each change needs a kick",
      .differs(
        .options, "NETMAP_REQ_OPT_SYNC_KLOOP_MODE",
        how: direct)),
    Rule(
      "direct-one", "one direction can be direct",
      .differs(
        .options, "NETMAP_REQ_OPT_SYNC_KLOOP_MODE",
        how: direct)),
    Rule(
      "other-process", "another process with the descriptor stops the loop, and runs the next one",
      .works(
        .requests, "NETMAP_REQ_SYNC_KLOOP_START", "NETMAP_REQ_SYNC_KLOOP_STOP")),
    Rule(
      "killed", "when the process that runs a loop is killed, the loop has ended",
      .works(.failures, "a process that runs a sync loop is killed")),
    Rule(
      "nonsense", "control blocks of any content stop neither the loop nor the port's other side",
      .works(.failures, "nonsense in control blocks")),
    Rule(
      "signals", "handlers of signals run while a loop runs, and do not end it",
      .differs(
        .requests, "NETMAP_REQ_SYNC_KLOOP_START",
        how: "handlers run at once, and not only when the loop has ended")),
  ]

  @Test(
    "A C program's loops do what they do with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("loops", rule, loading)
  }
}
