import Glibc
import Netmap
import NetmapClient
import NetmapTestSupport
import Testing

@Suite("Isolated ports of the daemon", .serialized, .timeLimit(.minutes(3)))
struct IsolationTests {
  @Test(
    "an isolated process and another exchange packets, none lost",
    arguments: [("/i", ""), ("", "/i"), ("/i", "/i")])
  func exchange(_ flags: (sender: String, receiver: String)) throws {
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1\(flags.receiver)", "50000"])
    let sender = try fixture.peer(["send", "netmap:p}1\(flags.sender)", "1", "50000"])
    #expect(sender.finish().output == "sent 50000\n")
    #expect(receiver.finish().output == "received 50000 of 1, last 49999\n")
    let end = ContinuousClock.now + .seconds(10)
    while try !fixture.engine().listing().isEmpty, ContinuousClock.now < end { usleep(10_000) }
    #expect(try fixture.engine().listing().isEmpty)
  }

  @Test("netmap ports shows the process, and that it is isolated")
  func listed() throws {
    let fixture = try DaemonFixture()
    let peer = try fixture.peer(["receive", "netmap:p{1/i", "0"])
    let listings = try fixture.engine().listing()
    #expect(listings.map(\.name) == ["p{1"])
    #expect(listings.first?.backend == "isolated")
    #expect(listings.first?.processes == [peer.process])
    peer.kill(SIGKILL)
  }

  @Test("isolated senders killed 200 times: nobody else loses anything, and nothing is left")
  func killed() throws {
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:g{1", "400000"])
    let sender = try fixture.peer(["send", "netmap:g}1/i", "1", "400000"])
    let victims = try fixture.peer(["receive", "netmap:h{1", "0"])
    let seed = UInt64.random(in: 0..<1 << 32)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    for round in 0..<200 {
      let victim = try fixture.peer(["send", "netmap:h}1/i", "\(round + 2)", "0"])
      usleep(UInt32.random(in: 0...3000, using: &generator))
      if round % 10 == 0 {
        victim.send(SIGSTOP)
        usleep(1000)
      }
      victim.kill(SIGKILL)
    }
    victims.kill(SIGKILL)
    #expect(sender.finish().output == "sent 400000\n", "seed \(seed)")
    #expect(receiver.finish().output == "received 400000 of 1, last 399999\n", "seed \(seed)")
    let end = ContinuousClock.now + .seconds(10)
    while try !fixture.engine().listing().isEmpty, ContinuousClock.now < end { usleep(10_000) }
    #expect(try fixture.engine().listing().isEmpty)
  }

  @Test("with --isolate-others a user of another kind gets isolated ports, and no others")
  func others() throws {
    guard geteuid() == 0 else {
      if unsafe getenv("CI") != nil { Issue.record("NOT TESTED: needs root") }
      return
    }
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"])
    _ = unsafe chmod(fixture.folder, 0o755)
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    let receiver = try TestProgram(user + fixture.command(["receive", "netmap:p{1", "1000"]))
    #expect(receiver.read(until: "ready").contains("ready"))
    #expect(try fixture.engine().listing().map(\.backend) == ["isolated"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "1000"])
    #expect(sender.finish().status == 0)
    #expect(receiver.finish().output == "received 1000 of 1, last 999\n")
  }
}
