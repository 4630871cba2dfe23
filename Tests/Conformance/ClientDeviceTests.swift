import Testing

/// What netmap's descriptor and its path are to C programs besides netmap.
@Suite("The device of C programs")
struct ClientDeviceTests {
  static let rules = [
    Rule("transfers", "reads and writes fail with EINVAL, and calls for sockets with ENOTSOCK"),
    Rule("output", "what stdio writes to a descriptor by itself does no harm"),
    Rule("status", "the descriptor and its path have the status of one character device"),
    Rule("existence", "the path exists, although there is no such file"),
    Rule("others", "seeks, truncation and flags are those of a character device"),
    Rule("cancellation", "reads of other files are cancellation points"),
  ]

  @Test("netmap's descriptor is a character device to C programs", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("device", rule)
  }
}
