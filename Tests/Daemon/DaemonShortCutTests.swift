import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Both ends of a veth, opened by different processes through one netmapd.
@Suite("A veth joined by netmapd", .serialized, .timeLimit(.minutes(15)))
struct DaemonShortCutTests {
  private func joining() throws -> DaemonFixture {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--join-veths"])
    return fixture
  }

  @Test("without --join-veths the packets pass through the kernel")
  func unjoined() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let receiver = try fixture.peer(["receive", "netmap:\(pair.second)", "100"])
      let sender = try fixture.peer(["send", "netmap:\(pair.first)", "1", "100"])
      #expect(sender.finish().output == "sent 100\n")
      #expect(receiver.finish().output == "received 100 of 1, last 99\n")
      #expect(try InterfaceCounters(pair.first).sent >= 100)
    }
  }

  @Test(
    "two processes exchange packets, none lost, and none through the kernel; isolated ones too",
    arguments: [("", ""), ("/i", ""), ("", "/i"), ("/i", "/i")])
  func exchange(_ flags: (sender: String, receiver: String)) throws {
    try NetworkNamespace.run {
      let fixture = try joining()
      let pair = try VethPair()
      let receiver = try fixture.peer([
        "receive", "netmap:\(pair.second)\(flags.receiver)", "50000",
      ])
      let sender = try fixture.peer(["send", "netmap:\(pair.first)\(flags.sender)", "1", "50000"])
      #expect(sender.finish().output == "sent 50000\n")
      #expect(receiver.finish().output == "received 50000 of 1, last 49999\n")
      #expect(try InterfaceCounters(pair.first).sent == 0)
      let end = ContinuousClock.now + .seconds(10)
      while try !fixture.engine().listing().isEmpty, ContinuousClock.now < end { usleep(10_000) }
      try fixture.expectSound("at the end")
    }
  }

  @Test(
    "senders and receivers killed 100 times: nothing is lost or left behind for their successors")
  func killed() throws {
    try NetworkNamespace.run {
      let fixture = try joining()
      let pair = try VethPair()
      let (source, target) = ("netmap:\(pair.first)", "netmap:\(pair.second)")
      let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 0..<1 << 32)
      print("seed \(seed)")
      var generator = SeededGenerator(seed: seed)
      var receiver = try fixture.peer(["flow-receive", target, "0"])
      var sender = try fixture.peer(["flow-send", source, "1", "0", "0"])
      for round in 0..<100 {
        usleep(UInt32.random(in: 0...5000, using: &generator))
        let context = "seed \(seed), round \(round)"
        if Bool.random(using: &generator) {
          sender.send(SIGKILL)
          let said = rest(of: sender)
          try #require(said.isEmpty, "\(context): \(said)")
          _ = sender.wait()
          sender = try fixture.peer(["flow-send", source, "\(round + 2)", "0", "0"])
        } else {
          receiver.send(SIGKILL)
          let said = rest(of: receiver)
          try #require(said.isEmpty, "\(context): \(said)")
          _ = receiver.wait()
          receiver = try fixture.peer(["flow-receive", target, "0"])
        }
        if round % 10 == 9 { try fixture.expectSound(context) }
      }
      sender.kill(SIGKILL)
      receiver.kill(SIGKILL)
      let end = ContinuousClock.now + .seconds(10)
      while try !fixture.engine().listing().isEmpty, ContinuousClock.now < end { usleep(10_000) }
      try fixture.expectSound("seed \(seed), at the end")
      let last = try fixture.peer(["receive", target, "50000"])
      let first = try fixture.peer(["send", source, "1", "50000"])
      #expect(first.finish().output == "sent 50000\n", "seed \(seed)")
      #expect(last.finish().output == "received 50000 of 1, last 49999\n", "seed \(seed)")
    }
  }

  @Test("netmapd killed while it joins two ports: these exchange all packets")
  func netmapdKilled() throws {
    try NetworkNamespace.run {
      let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 0..<1 << 32)
      print("seed \(seed)")
      var generator = SeededGenerator(seed: seed)
      let fixture = try joining()
      var exchanges = 0
      for round in 0..<15 {
        // The processes of the former round hold the former interfaces a moment longer than they live.
        let pair = try VethPair("a\(round)", "b\(round)")
        let receiver = try fixture.peer(["receive", "netmap:\(pair.second)", "20000"])
        let end = ContinuousClock.now + .seconds(20)
        while try fixture.engine().listing().isEmpty, ContinuousClock.now < end { usleep(1000) }
        let before = try InterfaceCounters(pair.first).sent
        let sender = try fixture.peer(["send", "netmap:\(pair.first)", "1", "20000"])
        usleep(UInt32.random(in: 0...100_000, using: &generator))
        fixture.endDaemon(SIGKILL)
        let sent = sender.finish()
        if sent.output == "sent 20000\n" {
          let received = receiver.finish().output
          // Where netmapd was killed before it joined the ends, the kernel may lose packets.
          if try InterfaceCounters(pair.first).sent == before {
            exchanges += 1
            #expect(
              received == "received 20000 of 1, last 19999\n", "seed \(seed), round \(round)")
          }
        } else {
          // The sender had not got its port yet.
          receiver.send(SIGKILL)
          _ = receiver.wait()
        }
        try fixture.start(["--join-veths"])
      }
      #expect(exchanges > 0, "seed \(seed)")
    }
  }
}
