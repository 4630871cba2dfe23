import NetmapTestSupport
import Testing

/// What netmap's descriptor and its path are to C programs besides netmap.
@Suite("The device of C programs")
struct ClientDeviceTests {
  static let rules = [
    Rule(
      "transfers",
      "reads and writes fail with EINVAL, and calls for sockets with ENOTSOCK",
      .works(.descriptors, "`read` and `write`"),
      .works(.calls, "read", "write", "readv", "writev", "pread", "pwrite", "preadv", "pwritev")),
    Rule(
      "output",
      "what stdio writes to a descriptor by itself does no harm",
      .works(.failures, "bytes that stdio writes to the descriptor")),
    Rule(
      "status",
      "the descriptor and its path have the status of one character device",
      .works(.descriptors, "`fstat`"),
      .works(.calls, "fstat", "stat", "lstat", "fstatat", "statx")),
    Rule(
      "existence",
      "the path exists, although there is no such file",
      .works(.names, "`/dev/netmap` as a path"),
      .works(.calls, "access", "faccessat")),
    Rule(
      "others",
      "seeks, truncation and flags are those of a character device",
      .works(.descriptors, "`lseek` and `ftruncate`")),
    Rule("cancellation", "reads of other files are cancellation points"),
  ]

  @Test(
    "netmap's descriptor is a character device to C programs", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("device", rule, loading)
  }
}
