import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// A module host has the mailbox of the user who started it, but may make no requests on it.
@Suite("Rights of a module's process", .serialized, .timeLimit(.minutes(15)))
struct ModuleHostRightsTests {
  @Test("a module cannot use its process's mailbox for requests")
  func stolenMailbox() throws {
    let testbed = try ModuleTestbed()
    let port = try testbed.port("vale0:a")
    try testbed.load("mailbox")
    let report = try testbed.report {
      $0.statistics.contains { $0.name == "denied" && $0.value > 0 }
    }
    func value(_ name: String) -> UInt64? { report.statistics.first { $0.name == name }?.value }
    #expect(value("asked") ?? 0 >= 1, "\(report)")
    #expect(value("granted") == 0, "\(report)")
    #expect(value("denied") == value("asked"), "\(report)")
    withExtendedLifetime(port) {}
  }
}
