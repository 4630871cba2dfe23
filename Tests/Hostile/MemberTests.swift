import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// What a member of the trust domain can do to the daemon and to others beyond garbling packets of its ports.
@Suite("Members", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct MemberTests {
  @Test("ports on one name that were closed and not forgotten leave room for others there")
  func neverForgotten() throws {
    try HostileStage.run(isolates: false, [.pipe]) { stage in
      let (_, line) = try stage.attack("never-forget n{1 300")
      #expect(line.hasPrefix("ready"), "\(line)")
      for name in ["netmap:n}1", "netmap:n{2"] {
        #expect(throws: Never.self, "\(name)") {
          try Port(name, engine: try stage.fixture.engine()).close()
        }
      }
      try stage.expectRecovered("never forgotten")
    }
  }
}
