import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("Isolated ports of the daemon", .serialized, .timeLimit(.minutes(15)))
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

  @Test(
    "isolated senders killed 200 times: other ports lose no packets, and nothing is left behind")
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

  @Test(
    "a stopped isolated receiver holds up its own sender only; after SIGCONT everything arrives")
  func stopped() throws {
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1/i", "200000"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "200000"])
    let engine = try fixture.engine()
    for round: UInt8 in 0..<20 {
      receiver.send(SIGSTOP)
      let (a, b) = (
        try NetmapPort("netmap:q{1/i", engine: engine), try NetmapPort("netmap:q}1", engine: engine)
      )
      try a.inject([round])
      try a.sync(.transmit)
      #expect(try b.wait(for: .receive, timeout: .seconds(10)) == .receive)
      receiver.send(SIGCONT)
      usleep(1000)
    }
    #expect(sender.finish().output == "sent 200000\n")
    #expect(receiver.finish().output == "received 200000 of 1, last 199999\n")
  }

  @Test("an isolated process that writes rubbish over all its memory harms only itself, 200 times")
  func hostile() throws {
    let seed = UInt64.random(in: 0..<1 << 32)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1/i", "300000"])
    let sender = try fixture.peer(["send", "netmap:p}1/i", "1", "300000"])
    let address = try DaemonAddress(path: fixture.socket)
    let engine = try fixture.engine()
    for round in 0..<200 {
      let victim = try NetmapPort("netmap:s\(round)}1", engine: engine)
      let connection = try DaemonConnection(address: address)
      let opened = try connection.register(
        RegisterRequest(name: PortName("s\(round){1"), extensions: .isolated, extraBuffers: 8))
      let registration = opened.registration
      for memory in [registration.segment.memory, registration.region] {
        for word in 0..<min(memory.byteCount, 1 << 18) / 8 {
          // Include small numbers, which pass more checks.
          let value = generator.next()
          memory.store(value & 1 == 0 ? value : value & 0x3ff_0000_03ff, at: word * 8)
        }
      }
      try victim.inject([1, 2, 3])
      try victim.sync(.transmit)
      try victim.sync(.receive)
      var ring = victim.receiveRing(0)
      ring.skip()
      _ = try connection.listing()
      if Bool.random(using: &generator) { opened.token.close() }
    }
    #expect(sender.finish().output == "sent 300000\n", "seed \(seed)")
    #expect(receiver.finish().output == "received 300000 of 1, last 299999\n", "seed \(seed)")
    // The next process gets an intact port.
    let (a, b) = (
      try NetmapPort("netmap:t{1/i", engine: engine), try NetmapPort("netmap:t}1", engine: engine)
    )
    try a.inject([1])
    try a.sync(.transmit)
    #expect(try b.wait(for: .receive, timeout: .seconds(10)) == .receive)
  }

  @Test("when the daemon is gone, waits on an isolated port end with an error")
  func daemonGone() throws {
    let fixture = try DaemonFixture()
    let port = try NetmapPort("netmap:p{1/i", engine: try fixture.engine())
    #expect(port.backend?.name == "isolated")
    #expect(try port.wait(for: .receive, timeout: .milliseconds(20)).isEmpty)
    fixture.endDaemon(SIGKILL)
    #expect(try port.wait(for: .receive, timeout: .seconds(20)) == .error)
    #expect(try port.wait(for: .receive, timeout: .zero) == .error)
  }

  @Test("a worker without traffic uses no processor time")
  func idle() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let ports = try (0..<50).map { try NetmapPort("netmap:p\($0){1/i", engine: engine) }
    for port in ports {
      try port.inject([1])
      try port.sync(.transmit)
    }
    // The worker checks all ports every 100 ms.
    try expectRest(of: [try #require(fixture.serving)], wakingUp: 11)
    for port in ports { port.close() }
  }

  @Test(
    "with --isolate-others, other users get only isolated ports",
    .needsRoot)
  func others() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others", "--allow-isolated", "p{*"])
    _ = unsafe chmod(fixture.folder, 0o755)
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    let receiver = try TestProgram(user + fixture.command(["receive", "netmap:p{1", "1000"]))
    #expect(receiver.read(until: "ready").contains("ready"))
    #expect(try fixture.engine().listing().map(\.backend) == ["isolated"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "1000"])
    #expect(sender.finish().status == 0)
    #expect(receiver.finish().output == "received 1000 of 1, last 999\n")
  }

  @Test(
    "a user with only isolated ports has at most 64, and does not affect other users",
    .needsRoot)
  func limits() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--isolate-others"])
    _ = unsafe chmod(fixture.folder, 0o755)
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    let greedy = try TestProgram(user + fixture.command(["open-all", "s", "100"]))
    #expect(greedy.readLine() == "opened 64, then EMFILE\n")
    #expect(try fixture.engine().listing().count == 64)
    // The daemon refuses another process of the same user, but not other users.
    let second = try TestProgram(user + fixture.command(["open-all", "t", "1"]))
    #expect(second.readLine() == "opened 0, then EMFILE\n")
    let other = try TestProgram(
      ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"]
        + fixture.command(["open-all", "u", "1"]))
    #expect(other.readLine() == "opened 1\n")
    _ = try NetmapPort("netmap:own{1", engine: try fixture.engine())
    for program in [second, other, greedy] { program.kill(SIGKILL) }
    // The user can open as many ports again.
    let end = ContinuousClock.now + .seconds(10)
    while try !fixture.engine().listing().isEmpty, ContinuousClock.now < end { usleep(10_000) }
    let again = try TestProgram(user + fixture.command(["open-all", "s", "10"]))
    #expect(again.readLine() == "opened 10\n")
    again.kill(SIGKILL)
  }
}
