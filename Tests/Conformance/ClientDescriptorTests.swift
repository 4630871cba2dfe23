import NetmapTestSupport
import Testing

/// netmap's descriptor in C programs, as a file.
@Suite("Descriptors of C programs")
struct ClientDescriptorTests {
  static let rules = [
    Rule(
      "lowest", "the descriptor has the lowest free number, and hidden ones take none of the next",
      .works(.descriptors, "number"),
      .works(.calls, "open")),
    Rule(
      "copies", "a copy of the descriptor is the same port, also when the first one is closed",
      .works(.descriptors, "`dup`"),
      .works(.calls, "dup", "dup2", "fcntl")),
    Rule(
      "closed", "a port can be opened exclusively right after any way of closing it",
      .works(.descriptors, "`close`"),
      .works(.calls, "close", "fclose", "close_range", "closefrom")),
    Rule(
      "everything", "a program that closes every number can open ports afterwards",
      .works(.descriptors, "close of every number"),
      .works(.calls, "close", "closefrom")),
    Rule(
      "child-syncs", "a fork child syncs the rings of its parent",
      .works(.descriptors, "`fork`")),
    Rule(
      "child-waits", "a fork child waits on its parent's descriptor",
      .works(.descriptors, "`fork`")),
    Rule(
      "child-closes", "a fork child that closes its copy does not end the port",
      .works(.descriptors, "`fork`")),
    Rule(
      "vfork", "a vfork child that closes its copy changes nothing in its parent",
      .works(.descriptors, "`vfork`"),
      .works(.calls, "vfork")),
    Rule(
      "cloned", "a child that clone(2) makes opens ports, unless it has its parent's memory",
      .works(.descriptors, "`clone`")),
    Rule(
      "barriers", "the thread that syncs counts its uses without atomic additions",
      .works(.commands, "NIOCTXSYNC")),
    Rule(
      "passed", "a process maps and syncs a port by a descriptor that it receives",
      .works(.descriptors, "`SCM_RIGHTS`"),
      .works(.calls, "recvmsg")),
    Rule(
      "exec", "a descriptor survives exec, and the last close ends the port",
      .works(.descriptors, "`exec`")),
    Rule(
      "threads", "threads and signal handlers may use a descriptor while another thread closes it",
      .works(.descriptors, "`close`")),
    Rule(
      "sockets", "other sockets of the same kind stay what they are",
      .works(.descriptors, "other sockets")),
    Rule(
      "child-frees", "a fork child has neither its parent's hidden descriptors nor its regions",
      .works(.descriptors, "`fork`")),
    Rule(
      "replaced", "dup2 may take a number that the library uses, and everything goes on working",
      .works(.calls, "dup2")),
    Rule(
      "memory", "a bind that cannot be mapped leaves the descriptor unbound",
      .works(.failures, "no memory (`RLIMIT_AS`)")),
  ]

  @Test("netmap's descriptor is a file to C programs", arguments: rules, CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("descriptors", rule, loading)
  }
}
