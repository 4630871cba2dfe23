import NetmapTestSupport
import Testing

/// netmap's descriptor between processes and threads of C programs.
@Suite("Passing of descriptors")
struct ClientPassingTests {
  static let rules = [
    Rule(
      "many", "several descriptors in a message, and several messages at once, bring their ports",
      .works(.descriptors, "`SCM_RIGHTS`"),
      .works(.calls, "recvmmsg")),
    Rule(
      "way", "a descriptor on its way keeps its port, which ends if the descriptor never arrives",
      .works(.descriptors, "`SCM_RIGHTS`")),
    Rule(
      "sender-exits", "a sender may exit before its descriptor is received",
      .works(.descriptors, "`SCM_RIGHTS`")),
    Rule(
      "receiver-dies", "a receiver that is killed in a wait does not end the port",
      .works(.descriptors, "`SCM_RIGHTS`")),
    Rule(
      "bound-by-child", "one process may bind a descriptor, and another one map and sync it",
      .works(.descriptors, "`fork`")),
    Rule(
      "killed", "the ports of a killed process are free when it has been waited for",
      .works(.descriptors, "death of the holder")),
    Rule(
      "killed-in-sync", "a process that is killed in a sync does not stop the rings for others",
      .works(.descriptors, "death of the holder")),
    Rule(
      "requests-at-once",
      "requests of processes and threads on one descriptor get their own answers",
      .works(.descriptors, "threads")),
    Rule(
      "behind", "a number that another file has taken by a raw system call is that file",
      .works(.descriptors, "number")),
    Rule(
      "nonblocking", "O_NONBLOCK can be set, and changes nothing",
      .works(.descriptors, "`O_NONBLOCK`")),
    Rule(
      "silent", "no failure writes to the program's standard error",
      .works(.descriptors, "standard error")),
    Rule(
      "stderr", "the descriptor may be the program's standard error",
      .works(.descriptors, "standard error")),
  ]

  @Test(
    "A C program's descriptors pass between processes as files do", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("passing", rule, loading)
  }
}
