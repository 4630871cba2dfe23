import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Any process may be killed or stopped at any instruction, and nobody else is harmed.
@Suite("Killed and stopped processes", .serialized, .timeLimit(.minutes(2)))
struct KillTests {
  static var seed: UInt64 { UInt64(time(nil)) }

  @Test("200 senders killed at full speed: the receiver gets whole packets of each, in order")
  func senders() throws {
    let seed = Self.seed
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "0"])
    for round in 0..<200 {
      let sender = try fixture.peer(["send", "netmap:p}1", "\(round)", "0"])
      usleep(.random(in: 0..<4_000, using: &generator))
      sender.kill(SIGKILL)
    }
    // A last one that ends by itself; the receiver must still be there to take everything.
    let last = try fixture.peer(["send", "netmap:p}1", "1000", "100000"])
    #expect(rest(of: last) == "sent 100000\n")
    _ = last.wait()
    try expectEmpty(fixture, "p}1")
    Glibc.kill(receiver.process, SIGKILL)
    let said = rest(of: receiver)
    #expect(said.isEmpty, "seed \(seed): \(said)")
    _ = receiver.wait()
  }

  /// Waits until the receiver has taken what the ring holds.
  private func expectEmpty(_ fixture: DaemonFixture, _ name: String) throws {
    let probe = try Port("netmap:\(name)", engine: try fixture.engine())
    let patience = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < patience {
      try probe.sync(.transmit)
      let ring = probe.transmitRing(0)
      if ring.space == ring.slotCount - 1 { return }
      usleep(1000)
    }
    Issue.record("the receiver stopped receiving")
  }

  @Test("200 receivers killed at full speed: each finds the packets in order, none damaged")
  func receivers() throws {
    let seed = Self.seed
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let fixture = try DaemonFixture()
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "0"])
    for round in 0..<200 {
      let receiver = try fixture.peer(["receive", "netmap:p{1", "0"])
      usleep(.random(in: 0..<4_000, using: &generator))
      kill(receiver.process, SIGKILL)
      let said = rest(of: receiver)
      #expect(said.isEmpty, "seed \(seed), round \(round): \(said)")
      _ = receiver.wait()
    }
    let last = try fixture.peer(["receive", "netmap:p{1", "100000"])
    #expect(rest(of: last).hasPrefix("received 100000 of 1"))
    _ = last.wait()
    sender.kill(SIGKILL)
  }

  @Test("a stopped receiver holds up its own sender only; after SIGCONT everything arrives")
  func stopped() throws {
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "500000"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "500000"])
    for _ in 0..<20 {
      kill(receiver.process, SIGSTOP)
      // Others open, use and close ports meanwhile.
      let engine = try fixture.engine()
      let (a, b) = (
        try Port("netmap:q{1", engine: engine), try Port("netmap:q}1", engine: engine)
      )
      a.inject([1])
      try a.sync(.transmit)
      #expect(try b.wait(for: .receive, timeout: .seconds(5)) == .receive)
      kill(receiver.process, SIGCONT)
      usleep(1000)
    }
    #expect(rest(of: sender) == "sent 500000\n")
    #expect(rest(of: receiver) == "received 500000 of 1, last 499999\n")
    _ = (sender.wait(), receiver.wait())
  }

  @Test("the daemon killed at full speed, 20 times: running pipes do not notice")
  func daemon() throws {
    let fixture = try DaemonFixture()
    for round in 0..<20 {
      if round > 0 { try fixture.start() }
      let receiver = try fixture.peer(["receive", "netmap:p{1", "300000"])
      let sender = try fixture.peer(["send", "netmap:p}1", "1", "300000"])
      fixture.endDaemon(SIGKILL)
      #expect(rest(of: sender) == "sent 300000\n")
      #expect(rest(of: receiver) == "received 300000 of 1, last 299999\n")
      _ = (sender.wait(), receiver.wait())
    }
  }

  @Test("a process killed 200 times while it opens and closes leaves nothing behind")
  func openers() throws {
    let seed = Self.seed
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let fixture = try DaemonFixture()
    for _ in 0..<200 {
      let program = try TestProgram(fixture.command(["receive", "netmap:k{1/x", "0"]))
      usleep(.random(in: 0..<30_000, using: &generator))
      program.kill(SIGKILL)
    }
    let engine = try fixture.engine()
    #expect(try engine.listing().isEmpty)
    let port = try Port("netmap:k{1/x", engine: engine)
    #expect(try engine.listing().map(\.processes) == [[getpid()]])
    port.close()
  }

  @Test("a process that writes rubbish over its rings and its segment harms itself only")
  func scribbler() throws {
    let seed = Self.seed
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "200000"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "200000"])
    let address = try DaemonAddress(path: fixture.socket)
    for round in 0..<200 {
      let connection = try DaemonConnection(address: address)
      let names = ["s\(round % 3){1", "s\(round % 3)}1"]
      let open = try names.map { name in
        try connection.register(RegisterRequest(name: PortName(name), extraBuffers: 8))
      }
      for registration in open.map(\.registration) {
        let segment = registration.segment.memory
        for _ in 0..<2000 {
          let place = Int.random(in: 0..<segment.byteCount / 8, using: &generator) * 8
          segment.store(generator.next(), at: place)
        }
        // The netmap_if objects, and the rings behind them.
        for _ in 0..<2000 {
          let place = Int.random(in: 0..<(1 << 20) / 8, using: &generator) * 8
          registration.region.store(generator.next(), at: place)
        }
      }
      _ = try connection.listing()
      for token in open.map(\.token) where Bool.random(using: &generator) { token.close() }
    }
    #expect(rest(of: sender) == "sent 200000\n", "seed \(seed)")
    #expect(rest(of: receiver) == "received 200000 of 1, last 199999\n", "seed \(seed)")
    _ = (sender.wait(), receiver.wait())
    let engine = try fixture.engine()
    let (a, b) = (
      try Port("netmap:s0{1", engine: engine), try Port("netmap:s0}1", engine: engine)
    )
    a.inject([1])
    try a.sync(.transmit)
    #expect(try b.wait(for: .receive, timeout: .seconds(5)) == .receive)
  }
}
