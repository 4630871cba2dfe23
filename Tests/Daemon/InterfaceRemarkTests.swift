import Netmap
import NetmapClient
import NetmapTestSupport
import Testing

/// Remarks on interfaces that netmapd has opened, and the commands that show them.
@Suite("Remarks on interfaces", .timeLimit(.minutes(15)))
struct InterfaceRemarkTests {
  private static let remark =
    "checksums and VLAN tags that its veth peer v1 leaves to v0 are completed and counted"

  /// Runs `body` with a daemon, beside a veth v0 whose peer v1 leaves checksums unfinished.
  private func withUnfinishedChecksums(_ body: (DaemonFixture) throws -> Void) throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture(starts: false)
      try fixture.start([
        "--listen", "\(fixture.folder)/second.sock:isolated", "--allow-isolated", "v0",
      ])
      _ = try VethPair()
      try NetworkNamespace.run("ethtool", "-K", "v1", "tx", "on")
      try body(fixture)
    }
  }

  @Test(
    "vale-ctl notes that frames are completed when it attaches an interface, and netmap ports does"
  )
  func attached() throws {
    try withUnfinishedChecksums { fixture in
      let (status, text) = try SwitchedInterfaceTests.run(fixture, "-a vale0:v0")
      #expect(status == 0 && text.hasPrefix("note: \(Self.remark)"))
      #expect(text.hasSuffix("netmap ports\n"))
      let table = try SwitchedInterfaceTests.run(fixture, "ports", tool: "netmap").text
      #expect(table.contains("\nv0, when it was opened: \(Self.remark)"))
      let lines = try SwitchedInterfaceTests.run(fixture, "ports --json", tool: "netmap").text
      #expect(lines.contains("\"remarks\":[\"\(Self.remark)"))
      #expect(lines.contains("\"remarks\":[],"))
      #expect(try SwitchedInterfaceTests.run(fixture, "-d vale0:v0").status == 0)
      try NetworkNamespace.run("ethtool", "-K", "v1", "tx", "off")
      #expect(try SwitchedInterfaceTests.run(fixture, "-a vale0:v0") == (0, ""))
    }
  }

  @Test("a port of its own and an isolated one have the remark too, and the list has it once")
  func opened() throws {
    try withUnfinishedChecksums { fixture in
      let engine = try fixture.engine()
      let sender = try NetmapPort("netmap:v0/T", engine: engine)
      #expect(sender.backend?.remarks == [])
      let receiver = try NetmapPort("netmap:v0/R", engine: engine)
      #expect(receiver.backend?.remarks.count == 1)
      #expect(receiver.backend?.remarks.first?.hasPrefix(Self.remark) == true)
      #expect(try engine.listing().map(\.remarks.count) == [1])
      receiver.close()
      sender.close()
      let isolated = try NetmapPort(
        "netmap:v0", engine: HostEngine(socket: "\(fixture.folder)/second.sock"))
      #expect(isolated.backend?.name == "isolated")
      #expect(isolated.backend?.remarks.first?.hasPrefix(Self.remark) == true)
    }
  }
}
