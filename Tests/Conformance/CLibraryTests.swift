import Testing

/// libnetmap's functions in programs that are linked with them, without a preload.
@Suite("libnetmap's functions")
struct CLibraryTests {
  static let rules = [
    Rule("ports", "nmport_open, nmport_inject and nmport_close share one mapping for a region"),
    Rule("clones", "a clone opens in the region of its model, and undoing twice does no harm"),
    Rule("shares", "the option share opens a port in another one's region"),
    Rule("refusals", "names and options that are wrong fail with an errno and a message"),
    Rule("names", "port names are read as netmap reads them, and failures change nothing"),
    Rule("waits", "libc's poll waits for ports of a program that is linked with the library"),
  ]

  @Test("A program that is linked with -lnetmap works without a preload", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("library", rule, .linked)
  }

  @Test("A program that loads the library with dlopen uses ports by the library's functions")
  func loaded() throws {
    try CClients.expectSuccess("loading", Rule("dlopen", ""), .linked)
  }
}
