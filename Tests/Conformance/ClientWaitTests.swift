import NetmapTestSupport
import Testing

/// `poll`, `ppoll`, `select` and `pselect` of C programs.
@Suite("Waits of C programs")
struct ClientWaitTests {
  static let rules = [
    Rule(
      "pipe", "processes at the ends of a pipe wake each other, and a wait for nothing sends",
      .works(.waits, "sync by a wait")),
    Rule(
      "switch", "processes on a switch wake each other",
      .works(.waits, "readiness")),
    Rule(
      "unbound", "a descriptor that is not bound is an error of the wait",
      .works(.waits, "`POLLERR`")),
    Rule(
      "interrupted", "a signal ends a wait also if its handler restarts calls",
      .works(.waits, "signals")),
    Rule(
      "masked", "ppoll lets a signal through that was blocked before",
      .works(.waits, "signal masks"),
      .works(.calls, "ppoll")),
    Rule(
      "timeouts", "a wait without time does not sleep, and others sleep as long as they say",
      .works(.waits, "time limits")),
    Rule(
      "mixed", "pipes, closed numbers and one port twice have their own answers in one set",
      .works(.waits, "other files in the set")),
    Rule(
      "other", "a byte in a pipe ends a sleep that also waits for packets",
      .works(.waits, "other files in the set")),
    Rule(
      "large", "a set may be large, and what the kernel refuses is refused",
      .works(.calls, "poll")),
    Rule(
      "select", "select changes its sets in place, and stores the time that is left",
      .works(.calls, "select", "pselect")),
    Rule(
      "spoiled", "indexes out of place are an error once, and a sync repairs them without one",
      .works(.waits, "`POLLERR`"),
      .works(.commands, "NIOCTXSYNC")),
    Rule(
      "broadcast", "one packet ends the waits of all threads of two processes",
      .works(.waits, "several waiters")),
    Rule(
      "canceled", "a thread that waits can be canceled, and its port can be closed afterwards",
      .works(.waits, "cancellation")),
    Rule(
      "between", "a signal that comes between two sleeps of a wait ends it",
      .works(.waits, "signals")),
    Rule("calls", "syncs and waits make no system call unless they sleep, and two for a sleep"),
  ]

  @Test(
    "A C program's waits do what they do with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("waits", rule, loading)
  }
}
