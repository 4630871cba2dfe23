import NetmapTestSupport
import Testing

/// The variants of libc's functions in C programs that are compiled as distributions compile.
@Suite("Variants of libc's functions")
struct ClientVariantTests {
  static let rules = [
    Rule(
      "opens", "every variant of open opens the device, and __close closes it",
      .works(
        .calls, "open", "open64", "openat", "openat64", "__open_2", "__open64_2", "__openat_2",
        "__openat64_2", "__close")),
    Rule(
      "other-files", "other files open as before",
      .works(.calls, "open64", "__open_2")),
    Rule(
      "maps", "mmap64 maps, and refuses offsets beyond the region",
      .works(.calls, "mmap", "mmap64")),
    Rule(
      "waits", "every variant of poll and select syncs and tells what is ready",
      .works(
        .calls, "poll", "__poll", "__poll_chk", "ppoll", "__ppoll_chk", "select", "__select",
        "pselect")),
    Rule(
      "too-small", "a checked variant ends a program whose set is smaller than it says",
      .works(.calls, "__poll_chk")),
    Rule(
      "copies", "every way to copy a descriptor gives another one of the same port",
      .works(.calls, "dup", "dup2", "__dup2", "dup3", "fcntl", "__fcntl", "fcntl64")),
  ]

  @Test(
    "Every variant of a function of libc does what the function does", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("variants", rule, loading)
  }
}
