import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// What a user who gets isolated ports only can say and send to root's daemon.
@Suite("Strangers", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct StrangerTests {
  @Test("counters at their end are shown, and end nobody", arguments: ["", "--json", "--check"])
  func counters(_ option: String) throws {
    try HostileStage.run(isolates: true, [.pipe]) { stage in
      #expect(try stage.attack("full-counters count{1").line == "ready")
      let outcome = try TestProgram(
        [TestProgram.built("netmap"), "ports"] + (option.isEmpty ? [] : [option]),
        environment: ["NETMAP_SOCKET": stage.fixture.socket]
      ).end()
      #expect(outcome.status == 0, "\(outcome)")
      try stage.expectRecovered("full counters")
    }
  }
}
