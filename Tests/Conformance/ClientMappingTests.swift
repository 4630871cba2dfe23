import Testing

/// `mmap` of netmap's descriptor in C programs.
@Suite("Mappings of C programs")
struct ClientMappingTests {
  static let rules = [
    Rule("before-bind", "a descriptor that is not bound cannot be mapped"),
    Rule("ranges", "a mapping must lie within the region"),
    Rule("aliases", "parts and repeated mappings show the same memory"),
    Rule("lifetimes", "syncs need no mapping, and a mapping outlives the descriptor"),
    Rule("regions", "ports with one memory number share memory, and others do not"),
  ]

  @Test("A C program's mappings do what they do with the kernel module", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("mappings", rule)
  }
}
