import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Starting the daemon", .timeLimit(.minutes(faultMinutes)))
struct StartFaults {
  @Test("two clients that race to start the daemon start one, and both use it")
  func race() throws {
    let fixture = try DaemonFixture(starts: false)
    for round in 0..<faultRounds {
      let address = try DaemonAddress(path: "\(fixture.folder)/\(round).sock")
      let racers = try (0..<2).map { _ in
        try NamespaceThread {
          Result { () throws(NetmapError) -> DaemonConnection in
            if try address.connect() == nil {
              try address.startDaemon(program: TestProgram.built("netmapd"), idleExit: 2)
            }
            return try DaemonConnection(address: address)
          }
        }.start()
      }
      let connections = try racers.map { try $0.join().get() }
      let open = try zip(connections, ["p{1", "p}1"]).map { connection, name in
        try connection.register(RegisterRequest(name: try PortName(name)))
      }
      for connection in connections {
        #expect(try connection.listing().map(\.name) == ["p{1", "p}1"], "round \(round)")
      }
      let check = try connections[0].check()
      #expect(check.report.findings.isEmpty, "round \(round): \(check.report.findings)")
      for token in open.map(\.token) { token.close() }
    }
    // Each daemon exits by itself, and removes its socket.
    for _ in 0..<20_000 where fixture.files.contains(where: { $0.hasSuffix(".sock") }) {
      usleep(1000)
    }
    #expect(!fixture.files.contains { $0.hasSuffix(".sock") })
  }
}
