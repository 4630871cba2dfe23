import Testing

/// `poll`, `ppoll`, `select` and `pselect` of C programs.
@Suite("Waits of C programs")
struct ClientWaitTests {
  static let rules = [
    Rule("pipe", "processes at the ends of a pipe wake each other, and a wait for nothing sends"),
    Rule("switch", "processes on a switch wake each other"),
    Rule("unbound", "a descriptor that is not bound is an error of the wait"),
    Rule("interrupted", "a signal ends a wait also if its handler restarts calls"),
    Rule("masked", "ppoll lets a signal through that was blocked before"),
    Rule("timeouts", "a wait without time does not sleep, and others sleep as long as they say"),
    Rule("mixed", "pipes, closed numbers and one port twice have their own answers in one set"),
    Rule("other", "a byte in a pipe ends a sleep that also waits for packets"),
    Rule("large", "a set may be large, and what the kernel refuses is refused"),
    Rule("select", "select changes its sets in place, and stores the time that is left"),
    Rule("broadcast", "one packet ends the waits of all threads of two processes"),
    Rule("canceled", "a thread that waits can be canceled, and its port can be closed afterwards"),
    Rule("calls", "syncs and waits make no system call unless they sleep, and two for a sleep"),
    Rule("spoiled", "indexes out of place are an error once, and a sync repairs them without one"),
  ]

  @Test("A C program's waits do what they do with the kernel module", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("waits", rule)
  }
}
