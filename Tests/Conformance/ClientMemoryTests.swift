import NetmapTestSupport
import Testing

/// Regions in memory of C programs.
@Suite("Memory of C programs")
struct ClientMemoryTests {
  private static let replacement =
    "netmap's memory takes the place of the pages: another process that maps the same file sees the region when it"
    + " registers the file itself"

  static let rules = [
    Rule(
      "exact",
      "a region in the program's memory has exactly the sizes that were asked for: 64 rings of 512 bytes in 8423424 bytes",
      .differs(.options, "NETMAP_REQ_OPT_EXTMEM", how: replacement)),
    Rule(
      "defaults",
      "sizes and numbers that are 0 become netmap's defaults, and what is left becomes buffers; too little is ENOMEM"
    ),
    Rule(
      "kinds",
      "the memory may be anonymous, static, of the heap, or of any file, and be used again"),
    Rule(
      "refused",
      "addresses inside a page, missing or read-only pages and sizes that cannot be are refused with the reason as the option's status"
    ),
    Rule(
      "within", "the memory may be a part of a mapping, and the pages beside it stay as they are"),
    Rule("last-page", "bytes behind the memory in its last page stay as they are"),
    Rule("shared", "processes that register the same file have ports in one region"),
    Rule("truncated", "a file that is truncated harms neither its owner's ports nor others"),
    Rule(
      "elsewhere", "a port that is in a region already, and a monitor, are EBUSY with such memory"),
    Rule("pipes", "pipes of a port in the program's memory are there as well, and keep the region"),
    Rule(
      "life",
      "a child shares the memory, the program may unmap it, and the region ends with its last port"
    ),
    Rule("threads", "threads may write into the memory while it becomes a region"),
    Rule(
      "taken-away",
      "a program that truncates its file or unmaps its memory while packets arrive there harms no port"
    ),
    Rule("killed", "processes that are killed while they register memory leave nothing behind"),
    Rule("overlapping", "regions in overlapping memory harm nobody but the program that has them"),
  ]

  @Test(
    "C programs give memory of their own to netmap", arguments: rules, CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("extmem", rule, loading)
  }
}
