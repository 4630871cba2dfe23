import NetmapTestSupport
import Testing

/// `mmap` of netmap's descriptor in C programs.
@Suite("Mappings of C programs")
struct ClientMappingTests {
  static let rules = [
    Rule(
      "before-bind", "a descriptor that is not bound cannot be mapped: EINVAL",
      .works(.calls, "mmap")),
    Rule(
      "ranges", "a mapping must lie within the region",
      .works(.calls, "mmap")),
    Rule(
      "aliases", "parts and repeated mappings show the same memory",
      .works(.calls, "mmap")),
    Rule(
      "lifetimes", "syncs need no mapping, and a mapping outlives the descriptor",
      .differs(
        .descriptors, "`mmap`",
        how: "a mapping does not keep its port open: the port ends with the last descriptor")),
    Rule(
      "regions", "ports with one memory number share memory, and others do not",
      .works(.calls, "mmap")),
  ]

  @Test(
    "A C program's mappings do what they do with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("mappings", rule, loading)
  }
}
