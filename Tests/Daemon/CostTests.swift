import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// The cost of idle ports, and the time to open a port.
@Suite("The cost of ports", .serialized, .timeLimit(.minutes(15)))
struct CostTests {
  @Test(
    "1000 idle ports with waiters use almost no processor time of netmapd or of their process"
  )
  func idlePorts() throws {
    let fixture = try DaemonFixture()
    // In one process, a thread for each pipe waits on one end, and one poller waits on all other ends.
    let holder = try fixture.peer(["hold-many", "500"])
    #expect(try fixture.engine().listing().count == 1000)
    // Each of 500 sleeps lasts at most a second, and so can end twice in a measured second.
    try expectRest(of: [holder.process], wakingUp: 1040)
    try expectRest(of: [try #require(fixture.serving)])
    holder.kill(SIGKILL)
  }

  @Test(
    "opening a port takes less than 5 ms, in the middle of 50, through netmapd and without it",
    arguments: [true, false])
  func opening(throughDaemon: Bool) throws {
    let fixture = try DaemonFixture(starts: throughDaemon)
    let engine: any PortEngine =
      throughDaemon ? try fixture.engine() : try EmbeddedEngine()
    var times: [Duration] = []
    var open: [NetmapPort] = []
    for number in 0..<50 {
      times.append(
        try fixture.time {
          open.append(try NetmapPort("netmap:o\(number){1", engine: engine))
        })
    }
    let median = times.sorted()[25]
    print("opening a port, \(throughDaemon ? "netmapd" : "embedded"): \(median)")
    #if DEBUG
      // Most of the time goes into writing slots, which is many times slower in a debug build.
      #expect(median < .milliseconds(40))
    #else
      #expect(median < .milliseconds(5))
    #endif
    #expect(open.count == 50)
  }

  @Test("netmapd uses all the descriptors of its hard limit, not only of its soft limit")
  func fileLimit() throws {
    let fixture = try DaemonFixture(wrapper: ["prlimit", "--nofile=64:4096"])
    let engine = try fixture.engine()
    let ports = try (0..<100).map { try NetmapPort("netmap:d\($0){1", engine: engine) }
    #expect(try engine.listing().count == 100)
    #expect(try fixture.daemonDescriptors() > 100)
    for port in ports { port.close() }
  }
}
