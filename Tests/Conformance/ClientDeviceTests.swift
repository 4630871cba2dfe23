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
      .works(
        .calls, "read", "__read", "__read_chk", "readv", "pread", "pread64", "__pread64",
        "__pread_chk", "__pread64_chk", "preadv", "preadv64", "preadv2", "preadv64v2", "write",
        "__write", "writev", "pwrite", "pwrite64", "__pwrite64", "pwritev", "pwritev64", "pwritev2",
        "pwritev64v2"),
      .works(.descriptors, "calls of sockets"),
      .works(
        .calls, "recv", "__recv_chk", "recvfrom", "__recvfrom_chk", "recvmsg", "recvmmsg", "send",
        "__send", "sendto", "sendmsg", "sendmmsg", "shutdown")),
    Rule(
      "output",
      "what stdio writes to a descriptor by itself does no harm",
      .works(.failures, "bytes that stdio writes to the descriptor")),
    Rule(
      "status",
      "the descriptor and its path have the status of one character device",
      .works(.descriptors, "`fstat`"),
      .works(
        .calls, "fstat", "fstat64", "stat", "stat64", "lstat", "lstat64", "fstatat", "fstatat64",
        "statx", "__xstat", "__xstat64", "__lxstat", "__lxstat64", "__fxstat", "__fxstat64",
        "__fxstatat", "__fxstatat64")),
    Rule(
      "existence",
      "the path exists, although there is no such file",
      .works(.names, "`/dev/netmap` as a path"),
      .works(.calls, "access", "eaccess", "euidaccess", "faccessat")),
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
