import Glibc
import NetmapTestSupport
import Testing

/// C programs that give up rights.
@Suite("C programs in sandboxes", .needsRoot)
struct ClientSandboxTests {
  /// How a program confines itself.
  struct Sandbox: Sendable, CustomTestStringConvertible {
    let name: String
    let testDescription: String

    init(_ name: String, _ text: String) {
      self.name = name
      testDescription = text
    }
  }

  static let sandboxes = [
    Sandbox("chroot", "chroot to an empty folder"),
    Sandbox("setuid", "setuid to an ordinary user"),
    Sandbox("seccomp", "a filter that refuses socket, connect and open"),
    Sandbox("deadly", "a filter that ends the process at socket, connect or open"),
    Sandbox("landlock", "landlock without any file"),
    Sandbox("newnet", "a network namespace of its own"),
    Sandbox("newuser", "a user namespace without users"),
    Sandbox("nonewprivs", "no new privileges"),
    Sandbox("nofile", "a low limit of open files"),
  ]

  @Test(
    "A program that gives up rights after its first open uses its ports as before",
    .proves(.works(.descriptors, "rights given up after an open")),
    arguments: sandboxes)
  func after(_ sandbox: Sandbox) throws {
    try CClients.expectSuccess("sandbox", Rule("after-\(sandbox.name)", ""))
  }

  @Test(
    "A program that gives up rights before its first open gets a plain errno, if anything is missing",
    .proves(
      .differs(
        .descriptors, "rights given up before the first open",
        how: "the open fails after chroot and the like unless `NETMAP_LOAD=early` is set")),
    arguments: sandboxes)
  func before(_ sandbox: Sandbox) throws {
    try CClients.expectSuccess("sandbox", Rule("before-\(sandbox.name)", ""))
  }

  @Test(
    "With NETMAP_LOAD=early, a program that gives up rights first opens ports, and so do its children",
    .proves(
      .differs(
        .descriptors, "rights given up before the first open",
        how: "the open fails after chroot and the like unless `NETMAP_LOAD=early` is set")),
    arguments: sandboxes)
  func early(_ sandbox: Sandbox) throws {
    try CClients.expectSuccess(
      "sandbox", Rule("early-\(sandbox.name)", ""), with: ["NETMAP_LOAD": "early"])
  }

  @Test("NETMAP_LOAD=early starts netmapd")
  func starts() throws {
    try CClients.expectSuccess(
      "sandbox", Rule("early-chroot", ""), with: ["NETMAP_LOAD": "early"], startsDaemon: false)
  }

  @Test("A program that is linked with the library and starts early opens ports after chroot")
  func linked() throws {
    try CClients.expectSuccess(
      "library", Rule("chroot", ""), .linked, with: ["NETMAP_LOAD": "early"])
  }

  static let rules = [
    Rule("no-descriptors", "without a free descriptor packets pass, and requests fail with EMFILE"),
    Rule(
      "interfaces-after",
      "after chroot an interface of the namespace can be bound, and one of another namespace cannot"
    ),
  ]

  @Test("A program without rights has netmap's rules", arguments: rules)
  func rule(_ rule: Rule) throws {
    try CClients.expectSuccess("sandbox", rule)
  }

  @Test("With NETMAP_LOAD=early, a program binds no interface of a namespace that it entered later")
  func namespaces() throws {
    try CClients.expectSuccess(
      "sandbox", Rule("interfaces-early", ""), with: ["NETMAP_LOAD": "early"])
  }
}
