import Glibc
import Netmap
import NetmapTestSupport
import Testing

@Suite("netmap ports", .timeLimit(.minutes(15)))
struct PortsCommandTests {
  private let fixture: DaemonFixture

  init() throws { fixture = try DaemonFixture() }

  private func ports(_ options: String...) throws -> TestProgram {
    try TestProgram(
      [TestProgram.built("netmap"), "ports"] + options,
      environment: ["NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd")])
  }

  @Test("--watch has packets per second, from the second list on")
  func watching() throws {
    let engine = try fixture.engine()
    let sender = try NetmapPort("netmap:rates{1", engine: engine)
    let receiver = try NetmapPort("netmap:rates}1", engine: engine)
    let watch = try ports("--json", "--watch", "0.2")
    let table = try ports("--watch", "0.2")
    defer {
      watch.kill(SIGKILL)
      table.kill(SIGKILL)
    }
    #expect(watch.readLine().contains("\"packets_per_second\":null"))
    _ = watch.readLine()
    #expect(watch.readLine().contains("\"packets_per_second\":0.0"))
    #expect(table.read(until: "sent/s").contains("sent/s"))
    var isSeen = false
    for _ in 0..<100 where !isSeen {
      try sender.inject([UInt8](repeating: 0xff, count: 60))
      try sender.sync(.transmit)
      try receiver.sync(.receive)
      isSeen = rates(watch.readLine()).contains { $0 > 0 }
    }
    #expect(isSeen)
  }

  /// The rates in a line of JSON.
  private func rates(_ line: String) -> [Double] {
    line.split(separator: "\"packets_per_second\":").dropFirst()
      .compactMap { part in Double(part.prefix { $0 != "," }) }
  }

  @Test("a single list has no rates")
  func withoutWatch() throws {
    let engine = try fixture.engine()
    let port = try NetmapPort("netmap:rates{1", engine: engine)
    defer { port.close() }
    let (status, list) = try ports().finish()
    #expect(status == 0 && list.contains("rates{1") && !list.contains("sent/s"))
    #expect(try !ports("--json").finish().output.contains("packets_per_second"))
  }

  @Test("the list names a port on which a program put a cursor where it may not be")
  func resets() throws {
    let engine = try fixture.engine()
    let port = try NetmapPort("netmap:broken{1", engine: engine)
    defer { port.close() }
    #expect(try !ports().finish().output.contains("broken{1: "))
    let ring = unsafe port.transmitRing(0).unsafeRing
    unsafe ring.head = 5000
    try port.sync(.transmit)
    #expect(try ports().finish().output.contains("broken{1: a program put head or cur where"))
    let json = try ports("--json").finish().output
    #expect(json.contains("\"resets\":1") && json.contains("\"resets\":0"))
  }
}
