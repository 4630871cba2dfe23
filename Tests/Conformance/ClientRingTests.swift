import NetmapTestSupport
import Testing

/// Ports with several descriptors, threads and waiters in C programs.
@Suite("Rings of C programs")
struct ClientRingTests {
  static let rules = [
    Rule(
      "two-descriptors",
      "two descriptors of a port share its rings, and the second one resets nothing",
      .works(.descriptors, "second open of a port")),
    Rule(
      "two-threads",
      "a ring that another thread syncs is passed over: syncs and waits of several threads do not disturb each other",
      .works(.descriptors, "threads"),
      .works(.commands, "NIOCTXSYNC", "NIOCRXSYNC")),
    Rule(
      "every", "a descriptor that is ready does not keep the others of the set from being synced",
      .works(.waits, "sync by a wait")),
    Rule(
      "cursor", "cur = tail asks to be woken only when tail moves",
      .works(.waits, "readiness")),
    Rule(
      "several", "all receive rings are synced, and packets on any transmit ring are sent",
      .works(.waits, "sync by a wait")),
    Rule(
      "broadcast", "all threads and processes that wait on a descriptor wake",
      .works(.waits, "several waiters")),
    Rule(
      "cancellation", "a thread can be canceled in a wait, and the port works on",
      .works(.waits, "cancellation"),
      .works(.calls, "poll")),
    Rule(
      "interrupted",
      "every wait ends with EINTR at a signal, with or without a time, also if the handler restarts calls",
      .works(.waits, "signals"),
      .works(.calls, "poll", "ppoll", "select", "pselect")),
    Rule(
      "masked-select",
      "pselect lets a signal through that was blocked before, and restores the mask",
      .works(.waits, "signal masks"),
      .works(.calls, "pselect")),
    Rule(
      "refused", "times and sets that the kernel refuses are refused",
      .works(.calls, "ppoll", "select")),
    Rule(
      "closed", "descriptors may be closed while other threads wait and make requests on them",
      .works(.descriptors, "`close`")),
  ]

  @Test("A C program's rings may have several users", arguments: rules, CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("rings", rule, loading)
  }
}
