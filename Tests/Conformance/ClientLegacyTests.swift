import NetmapTestSupport
import Testing

/// The interface of netmap before version 14: `struct nmreq` and `nm_open`.
@Suite("Old requests of C programs")
struct ClientLegacyTests {
  static let rules = [
    Rule(
      "pipe",
      "nm_open, nm_inject and nm_dispatch carry packets through both ends of a pipe",
      .works(.commands, "NIOCREGIF")),
    Rule(
      "one-ring", "nm_open makes a port of the size that it is given, and opens one of its rings"),
    Rule(
      "directions",
      "nm_open opens the rings of one direction",
      .works(.commands, "NIOCREGIF")),
    Rule(
      "suffixes", "nm_open puts a port into a region, shares mappings, and refuses other suffixes"),
    Rule(
      "switches",
      "nr_cmd makes, attaches, lists, detaches and removes persistent ports",
      .works(.legacy, "NETMAP_BDG_ATTACH", "NETMAP_BDG_DELIF")),
    Rule(
      "headers",
      "nr_cmd sets and gets the length of virtio-net headers",
      .works(.commands, "NIOCREGIF")),
    Rule(
      "info",
      "NIOCGINFO describes a port as NIOCREGIF does, and refuses ports that cannot be",
      .works(.commands, "NIOCGINFO")),
    Rule("extra", "nm_open gets as many extra buffers as nr_arg3 asks for"),
    Rule(
      "versions",
      "requests of old versions are refused, and bits of nr_ringid select rings",
      .works(.commands, "NIOCREGIF")),
  ]

  @Test(
    "A C program's old requests do what they do with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("legacy", rule, loading)
  }
}
