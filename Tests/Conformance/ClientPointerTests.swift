import NetmapTestSupport
import Testing

/// Requests and options at wild addresses in C programs.
@Suite("Wild pointers of C programs")
struct ClientPointerTests {
  /// See `Sources/NetmapPreload/memory.h`.
  static let wildPages =
    "EFAULT as in the kernel; but an address of poll, select or open in a page that an earlier call could use, and that "
    + "the program has unmapped since, ends the program"

  static let rules = [
    Rule(
      "arguments",
      "a request at an address that cannot be read is EFAULT, a null one EINVAL; syncs ignore theirs",
      .works(.failures, "wild pointers in requests")),
    Rule(
      "bodies", "bodies and options that cannot be read are EFAULT, also in the middle of a list",
      .works(.failures, "wild pointers in requests")),
    Rule(
      "misaligned", "structures may begin at any byte, and end with a page",
      .works(.failures, "wild pointers in requests")),
    Rule(
      "read-only", "an answer that cannot be written is EFAULT, and the request stays served",
      .works(.failures, "wild pointers in requests")),
    Rule(
      "circles", "options in a circle or without end are EMSGSIZE, and known ones twice EINVAL",
      .works(.failures, "endless options")),
    Rule(
      "meanwhile", "another thread may unmap a request's memory at any moment",
      .works(.failures, "wild pointers in requests")),
    Rule(
      "calls", "sets, paths and messages at wild addresses are what they are to the kernel",
      .differs(.failures, "wild sets and messages", how: wildPages)),
    Rule(
      "calls-ports",
      "wild addresses in calls for netmap's descriptors are errors, also such that can only be read",
      .differs(.failures, "wild sets and messages", how: wildPages)),
  ]

  @Test(
    "A wild pointer in a request is an error, not a crash", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("pointers", rule, loading)
  }
}
