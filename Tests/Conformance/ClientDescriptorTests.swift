import Testing

/// netmap's descriptor in C programs, as a file.
@Suite("Descriptors of C programs")
struct ClientDescriptorTests {
  static let rules = [
    Rule(
      "lowest", "the descriptor has the lowest free number, and hidden ones take none of the next"),
    Rule("copies", "a copy of the descriptor is the same port, also when the first one is closed"),
    Rule("closed", "a port can be opened exclusively right after any way of closing it"),
    Rule("everything", "a program that closes every number can open ports afterwards"),
    Rule("child-syncs", "a fork child syncs the rings of its parent"),
    Rule("child-waits", "a fork child waits on its parent's descriptor"),
    Rule("child-closes", "a fork child that closes its copy does not end the port"),
    Rule("vfork", "a vfork child that closes its copy changes nothing in its parent"),
    Rule("passed", "a process maps and syncs a port by a descriptor that it receives"),
    Rule("exec", "a descriptor survives exec, and the last close ends the port"),
    Rule(
      "threads", "threads and signal handlers may use a descriptor while another thread closes it"),
    Rule("sockets", "other sockets of the same kind stay what they are"),
    Rule(
      "child-frees", "a fork child has neither its parent's hidden descriptors nor its regions"),
    Rule(
      "replaced", "dup2 may take a number that the library uses, and everything goes on working"),
    Rule("memory", "a bind that cannot be mapped leaves the descriptor unbound"),
  ]

  @Test("netmap's descriptor is a file to C programs", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("descriptors", rule)
  }
}
