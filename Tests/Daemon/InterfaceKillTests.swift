import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Processes on rings of an interface that are killed at arbitrary points.
@Suite("Killed on an interface", .serialized, .timeLimit(.minutes(15)))
struct InterfaceKillTests {
  /// A sender and a receiver on one ring pair, which the test kills repeatedly.
  private struct Victims {
    let fixture: DaemonFixture
    let ports: (transmit: String, receive: String)
    /// How long to retry for a queue that the kernel has not freed yet.
    let patience: Duration
    var senders = 0
    var sender: TestProgram
    var receiver: TestProgram

    init(
      _ fixture: DaemonFixture, _ transmit: String, _ receive: String, patience: Duration = .zero
    ) throws {
      self.fixture = fixture
      self.patience = patience
      ports = (transmit, receive)
      receiver = try fixture.peer(["flow-receive", receive, "0"])
      sender = try fixture.peer(["flow-send", transmit, "1000", "0", "0"])
    }

    /// Kills one of them, which must not have printed an error, and starts its successor.
    mutating func kill(sender isSender: Bool, _ context: String) throws {
      let victim = isSender ? sender : receiver
      victim.send(SIGKILL)
      let said = rest(of: victim)
      try #require(said.isEmpty, "\(context): \(said)")
      _ = victim.wait()
      if isSender {
        senders += 1
        sender = try opened {
          try fixture.peer(["flow-send", ports.transmit, "\(1000 + senders)", "0", "0"])
        }
      } else {
        receiver = try opened { try fixture.peer(["flow-receive", ports.receive, "0"]) }
      }
    }

    /// Starts a process on a queue that a killed process had.
    ///
    /// The kernel frees the queue with a delay. The daemon waits half a second for that, which can be too short
    /// on a busy machine.
    private func opened(_ start: () throws -> TestProgram) throws -> TestProgram {
      let end = ContinuousClock.now + patience
      while true {
        do {
          return try start()
        } catch let error as FixtureError {
          let isTaken = error.text.contains("queue") && error.text.contains("(EBUSY)")
          guard isTaken, ContinuousClock.now < end else { throw error }
          print("once more: \(error.text)")
        }
      }
    }

    func end() {
      for program in [sender, receiver] { program.kill(SIGKILL) }
    }
  }

  /// Sends fewer packets than a ring holds while no process receives; if any is missing afterwards, buffers
  /// were lost.
  private func expectWholeRings(_ fixture: DaemonFixture, _ transmit: String, _ receive: String)
    throws
  {
    let engine = try fixture.engine()
    let (sender, receiver) = try (
      NetmapPort(transmit, engine: engine), NetmapPort(receive, engine: engine)
    )
    for _ in 0..<20 {
      _ = try sender.wait(for: .transmit, timeout: .milliseconds(10))
      _ = try receiver.wait(for: .receive, timeout: .milliseconds(10))
      var ring = receiver.receiveRing(0)
      ring.skip()
      try receiver.sync(.receive)
    }
    #expect(sender.transmitRing(0).space == sender.transmitRing(0).slotCount - 1)
    let before = receiver.statistics.receive.packets
    for batch in 0..<30 {
      var ring = sender.transmitRing(0)
      for number in 0..<32 {
        let frame = DaemonInterfaceTests.frame(UInt8(truncatingIfNeeded: batch * 32 + number))
        _ = unsafe ring.append(frame.span.bytes)
      }
      try sender.sync(.transmit)
      // Makes packets that have arrived visible, and leaves them in the ring.
      for _ in 0..<100 where receiver.statistics.receive.packets - before < UInt64(batch + 1) * 32 {
        usleep(500)
        try receiver.sync(.receive)
      }
    }
    #expect(
      receiver.statistics.receive.packets - before == 960,
      "drops: \(receiver.statistics.receive.drops)")
  }

  @Test(
    "200 processes killed on a ring that others hold: their successors see whole packets in order",
    arguments: ["xdp,mode=copy", "xdp,mode=generic", "packet"])
  func sharedRing(choice: String) throws {
    let seed = UInt64(time(nil))
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let names = (
        "netmap:\(pair.first)/T@backend:name=\(choice)",
        "netmap:\(pair.second)/R@backend:name=\(choice)"
      )
      // The holders keep the rings in their current state.
      let holders = try [names.0, names.1].map { try fixture.peer(["hold", $0]) }
      defer { for holder in holders { holder.kill(SIGKILL) } }
      var victims = try Victims(fixture, names.0, names.1)
      let engine = try fixture.engine()
      // These ports show damage in the round in which it happens.
      let (transmit, receive) = try (
        NetmapPort(names.0, engine: engine), NetmapPort(names.1, engine: engine)
      )
      for round in 0..<200 {
        usleep(.random(in: 0..<4_000, using: &generator))
        let isSender = Bool.random(using: &generator)
        try victims.kill(sender: isSender, "seed \(seed), round \(round)")
        let bad = (
          transmit.statistics.transmit.drops[.badBufferIndex],
          receive.statistics.receive.drops[.badBufferIndex]
        )
        try #require(
          bad == (0, 0), "seed \(seed), round \(round), killed \(isSender ? "sender" : "receiver")")
      }
      victims.end()
      try expectWholeRings(fixture, names.0, names.1)
    }
  }

  @Test(
    "200 processes killed on ring 0: traffic on ring 1 goes on, and ring 0 is opened anew each time"
  )
  func otherRing() throws {
    let seed = UInt64(time(nil))
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try DaemonInterfaceTests.twoQueues()
      let receiver = try fixture.peer(["flow-receive", "netmap:\(pair.second)-1/R", "0"])
      let sender = try fixture.peer(["flow-send", "netmap:\(pair.first)-1/T", "1", "0", "200"])
      let names = ("netmap:\(pair.first)-0/T", "netmap:\(pair.second)-0/R")
      var victims = try Victims(fixture, names.0, names.1, patience: .seconds(30))
      for round in 0..<200 {
        usleep(.random(in: 0..<4_000, using: &generator))
        try victims.kill(
          sender: Bool.random(using: &generator), "seed \(seed), round \(round)")
      }
      victims.end()
      sender.kill(SIGKILL)
      receiver.send(SIGKILL)
      let said = rest(of: receiver)
      #expect(said.isEmpty, "seed \(seed): \(said)")
      _ = receiver.wait()
      try expectWholeRings(fixture, names.0, names.1)
      try expectWholeRings(fixture, "netmap:\(pair.first)-1/T", "netmap:\(pair.second)-1/R")
      #expect(try fixture.engine().listing().isEmpty)
    }
  }

  @Test("a stopped process holds up its own ring only; others open, use and close the interface")
  func stopped() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try DaemonInterfaceTests.twoQueues()
      let stopped = try fixture.peer(["flow-receive", "netmap:\(pair.second)-0/R", "20000"])
      let sender = try fixture.peer(["flow-send", "netmap:\(pair.first)-0/T", "1", "0", "100"])
      stopped.send(SIGSTOP)
      for round in 0..<10 {
        let receiver = try fixture.peer(["flow-receive", "netmap:\(pair.second)-1/R", "1000"])
        let other = try fixture.peer([
          "flow-send", "netmap:\(pair.first)-1/T", "\(round)", "0", "100",
        ])
        #expect(rest(of: receiver).hasPrefix("received 1000 of [\(round)]"))
        _ = receiver.wait()
        other.kill(SIGKILL)
      }
      stopped.send(SIGCONT)
      #expect(rest(of: stopped).hasPrefix("received 20000 of [1]"))
      _ = stopped.wait()
      sender.kill(SIGKILL)
    }
  }
}
