import NetmapTestSupport
import Testing

/// Network interfaces of C programs.
@Suite("Interfaces of C programs", .serialized)
struct ClientInterfaceTests {
  static let rules = [
    Rule(
      "remembers",
      "a program that remembers the address of each receive slot's buffer sees every packet"),
    Rule("multicasts", "one buffer can be sent several times, by two interfaces"),
    Rule("offsets", "packets begin where their slots say, in both directions"),
    Rule(
      "down",
      "while an interface is down and after it, syncs and polls succeed, and frames flow again"),
  ]

  @Test("A C program's slots do what they do with the kernel module", arguments: rules)
  func rule(_ rule: Rule) throws {
    try NetworkNamespace.run {
      _ = try VethPair()
      try CClients.expectSuccess("interfaces", rule)
    }
  }
}
