import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Any process may be killed at any instruction, and no other process is harmed.
@Suite("Killed processes", .timeLimit(.minutes(faultMinutes)))
struct KillFaults {
  @Test("senders killed at full speed: the receiver gets whole packets of each, in order")
  func senders() throws {
    var (seed, generator) = seededGenerator("senders")
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "0"])
    for round in 0..<faultRounds {
      // With one packet per sync, the sender is in a sync most of the time.
      let batch = round % 2 == 0 ? "1" : "64"
      let sender = try fixture.peer(["send", "netmap:p}1", "\(round)", "0", batch])
      usleep(.random(in: 0..<3_000, using: &generator))
      sender.kill(SIGKILL)
      try fixture.expectSound("seed \(seed), round \(round)")
    }
    // A last sender that ends by itself. The receiver must still take all of its packets.
    let last = try fixture.peer(["send", "netmap:p}1", "1000000", "20000"])
    #expect(rest(of: last) == "sent 20000\n")
    last.wait()
    try fixture.expectDrained("p}1", "seed \(seed)")
    receiver.send(SIGKILL)
    let said = rest(of: receiver)
    #expect(said.isEmpty, "seed \(seed): \(said)")
    receiver.wait()
    let check = try fixture.expectSound("seed \(seed), at the end")
    print("senders: \(check.locksReleased) of \(faultRounds) died with a ring locked")
    try fixture.expectEmpty("seed \(seed)")
  }

  @Test("receivers killed at full speed: the next one continues where the last one stopped")
  func receivers() throws {
    var (seed, generator) = seededGenerator("receivers")
    let fixture = try DaemonFixture()
    let file = try ReceiverFile(fixture)
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "0"])
    var (seen, slack) = (UInt64(0), UInt64(0))
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      file.forget()
      let receiver = try fixture.peer(["receive", "netmap:p{1", "0", file.path])
      usleep(.random(in: 0..<3_000, using: &generator))
      receiver.send(SIGKILL)
      let said = rest(of: receiver)
      #expect(said.isEmpty, "\(context): \(said)")
      receiver.wait()
      try fixture.expectSound(context)
      let progress = file.progress
      guard progress.first > 0 else {
        slack += 1
        continue
      }
      // No packet that a receiver has taken may arrive again, and none may be missing after it.
      // Each receiver may have died with one packet taken but not recorded.
      #expect(
        (seen...seen + slack).contains(progress.first - 1),
        "\(context): \(progress.first - 1) after \(seen), \(slack) died since")
      (seen, slack) = (progress.seen, 1)
    }
    #expect(seen > 0)
    let last = try fixture.peer(["receive", "netmap:p{1", "20000"])
    #expect(rest(of: last).hasPrefix("received 20000 of 1"))
    last.wait()
    sender.kill(SIGKILL)
    try fixture.expectEmpty("seed \(seed)")
  }

  @Test("forwarders killed at full speed: each packet arrives once, in order; no buffer is lost")
  func forwarders() throws {
    var (seed, generator) = seededGenerator("forwarders")
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{2", "0"])
    let sender = try fixture.peer(["send-all", "netmap:p{1", "1", "0", "64"])
    for round in 0..<faultRounds {
      let batch = [1, 3, 64][round % 3]
      let forwarder = try fixture.peer(["forward", "netmap:p}1", "netmap:p}2", "\(batch)"])
      usleep(.random(in: 0..<3_000, using: &generator))
      forwarder.kill(SIGKILL)
      try fixture.expectSound("seed \(seed), round \(round), batch \(batch)")
    }
    sender.kill(SIGKILL)
    // The receiver prints an error if it received a wrong packet.
    receiver.send(SIGKILL)
    let said = rest(of: receiver)
    #expect(said.isEmpty, "seed \(seed): \(said)")
    receiver.wait()
    try fixture.expectEmpty("seed \(seed)")
  }

  @Test("processes that die with a ring locked: the lock is released, and the ring works")
  func lockHolders() throws {
    let fixture = try DaemonFixture()
    var pipe = try Bystander(fixture, "p")
    for round in 0..<faultRounds {
      let end = round % 4 < 2 ? "p{1" : "p}1"
      let direction = round % 2 == 0 ? "transmit" : "receive"
      let holder = try TestProgram(fixture.command(["hold-lock", end, direction]))
      let said = rest(of: holder)
      #expect(said == "locked\n", "round \(round): \(said)")
      #expect(holder.wait() == SIGKILL)
      let check = try fixture.expectSound("round \(round)")
      #expect(check.locksReleased == UInt64(round + 1))
      try pipe.pass(2, "round \(round)")
    }
  }

  @Test(
    "senders that die between taking a sleeper's announcement and ringing: the sleeper still wakes",
    arguments: [false, true])
  func unrung(onDescriptors: Bool) throws {
    let fixture = try DaemonFixture()
    let port = try NetmapPort("netmap:p{1", engine: try fixture.engine())
    let poller = Poller()
    for round in 0..<faultRounds / 2 {
      let sender = try TestProgram(fixture.command(["die-unrung", "p}1", "\(round)"]))
      let isWoken: Bool
      if onDescriptors {
        // A negative descriptor, which poll(2) ignores, makes the sleeper wait on descriptors.
        var items = [PollItem(port, for: .receive), PollItem(descriptor: -1)]
        isWoken = try poller.wait(for: &items, timeout: .seconds(20)) == 1
      } else {
        isWoken = try port.wait(for: .receive, timeout: .seconds(20)) == .receive
      }
      try #require(isWoken, "round \(round)")
      var ring = port.receiveRing(0)
      #expect(ring.next()?.bytes.byteCount == 60, "round \(round)")
      try port.sync(.receive)
      let said = rest(of: sender)
      #expect(said == "sent\n", "round \(round): \(said)")
      #expect(sender.wait() == SIGKILL)
      try fixture.expectSound("round \(round)")
    }
  }

  @Test("a process without a free descriptor wakes sleepers through the daemon")
  func starvedSender() throws {
    let fixture = try DaemonFixture()
    let port = try NetmapPort("netmap:p{1", engine: try fixture.engine())
    let poller = Poller()
    for round in 0..<4 {
      let sender = try TestProgram(fixture.command(["send-starved", "netmap:p}1"]))
      // With a descriptor, so that only the doorbell wakes the thread, and the sender does not have
      // that doorbell.
      var items = [PollItem(port, for: .receive), PollItem(descriptor: -1)]
      let start = ContinuousClock.now
      #expect(try poller.wait(for: &items, timeout: .seconds(20)) == 1, "round \(round)")
      // A wait that times out checks the rings once more, and would find the packet too.
      #expect(
        ContinuousClock.now - start < .seconds(15), "round \(round): no process rang the doorbell")
      sender.send(SIGKILL)
      _ = sender.wait()
      var ring = port.receiveRing(0)
      ring.skip()
      try port.sync(.receive)
    }
  }

  @Test("processes killed while they open and close leave nothing behind")
  func openers() throws {
    var (seed, generator) = seededGenerator("openers")
    let fixture = try DaemonFixture()
    var bystander = try Bystander(fixture)
    let descriptors = try fixture.daemonDescriptors()
    for round in 0..<faultRounds {
      let program = try TestProgram(fixture.command(["reopen", "netmap:k{1/x", "1000"]))
      usleep(.random(in: 0..<40_000, using: &generator))
      program.kill(SIGKILL)
      try fixture.expectOpen(2, "seed \(seed), round \(round)")
      try bystander.pass(1, "seed \(seed), round \(round)")
    }
    let port = try NetmapPort("netmap:k{1/x", engine: try fixture.engine())
    port.close()
    _ = consume port
    try fixture.expectDescriptors(descriptors, "seed \(seed)")
  }

  @Test("the daemon killed at full speed: running pipes go on, and opens report the reason")
  func daemon() throws {
    var (seed, generator) = seededGenerator("daemon")
    let fixture = try DaemonFixture()
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      if round > 0 { try fixture.start() }
      let process = try #require(fixture.daemon?.process)
      let engine = try fixture.engine()
      var pipe = try Bystander(fixture)
      let delay: UInt32 = .random(in: 0..<4_000, using: &generator)
      DetachedThread {
        usleep(delay)
        kill(process, SIGKILL)
      }
      var refusal: NetmapError?
      var opened = 0
      while refusal == nil, opened < 100_000 {
        try pipe.pass(1, context)
        do throws(NetmapError) {
          _ = try NetmapPort("netmap:q\(opened){1", engine: engine)
          opened += 1
        } catch {
          refusal = error
        }
      }
      let name = refusal?.code.name ?? ""
      #expect(
        name == "ECONNREFUSED" || name == "ECONNRESET",
        "\(context): \(String(describing: refusal))")
      try pipe.pass(20, context)
      fixture.endDaemon(SIGKILL)
    }
  }
}
