import Glibc
import Netmap
import NetmapClient
import NetmapTestSupport
import Testing

/// Switches between processes.
///
/// Each engine here is a separate client with separate mappings.
@Suite("VALE between processes", .serialized, .timeLimit(.minutes(15)))
struct SwitchTests {
  private func frame(_ target: UInt8, _ source: UInt8, _ number: UInt8) -> [UInt8] {
    [target, 0, 0, 0, 0, target, 2, 0, 0, 0, 0, source, 0x88, 0xb5, number]
      + [UInt8](repeating: number, count: 45)
  }

  private func send(_ frames: [UInt8]..., on port: NetmapPort) throws {
    for frame in frames { try port.inject(frame) }
    try port.sync(.transmit)
  }

  /// The numbers of the frames that have arrived.
  private func numbers(_ port: NetmapPort) throws -> [UInt8] {
    try port.sync(.receive)
    var ring = port.receiveRing(0)
    var result: [UInt8] = []
    while let packet = ring.next() {
      // Slots that a sender had reserved when it was killed arrive empty.
      if packet.bytes.byteCount > 0 {
        unsafe result.append(packet.bytes.unsafeLoad(fromByteOffset: 14, as: UInt8.self))
      }
    }
    return result
  }

  @Test(
    "ports of several processes exchange packets, in any order of opening")
  func meeting() throws {
    let fixture = try DaemonFixture()
    let a = try NetmapPort("vale0:a", engine: fixture.engine())
    let b = try NetmapPort("vale0:b", engine: fixture.engine())
    try send(frame(0xff, 1, 1), on: a)
    #expect(try numbers(b) == [1])
    let c = try NetmapPort("vale0:c", engine: fixture.engine())
    try send(frame(0xff, 1, 2), on: a)
    #expect(try numbers(b) == [2])
    #expect(try numbers(c) == [2], "the mailbox has the port that opened later")
    try send([2, 0, 0, 0, 0, 1] + frame(0, 2, 3).dropFirst(6), on: b)
    #expect(try numbers(a) == [3])
    #expect(try numbers(c) == [])
    for port in [a, b, c] { #expect(port.statistics.receive.drops.total == 0) }
  }

  @Test("a closed port gets no packets, and the next port with its index does")
  func leaving() throws {
    let fixture = try DaemonFixture()
    let a = try NetmapPort("vale0:a", engine: fixture.engine())
    for round in 0..<20 as Range<UInt8> {
      let guest = try NetmapPort("vale0:guest", engine: fixture.engine())
      try send(frame(0xff, 1, round), on: a)
      #expect(
        try numbers(guest) == [round],
        "round \(round), sender: \(a.statistics), receiver: \(guest.statistics)")
      guest.close()
      // A program that another test starts has, for a moment, a copy of the port's token, which keeps the port open.
      let end = ContinuousClock.now + .seconds(60)
      while try fixture.engine().check().bindings > 1, ContinuousClock.now < end { usleep(1000) }
      try send(frame(0xff, 1, round), on: a)
    }
    #expect(a.statistics.transmit.packets == 40)
    #expect(a.statistics.transmit.copies == 20)
  }

  @Test("two ports of one process, and the switch emptied and filled again")
  func refilled() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    for round in 0..<10 as Range<UInt8> {
      let a = try NetmapPort("vale0:a", engine: engine)
      let b = try NetmapPort("vale0:b", engine: engine)
      try send(frame(0xff, 1, round), on: a)
      #expect(try numbers(b) == [round])
    }
    #expect(try engine.listing().isEmpty)
  }

  @Test("a sleeping receiver is woken by a sender in another process")
  func wakeup() throws {
    let fixture = try DaemonFixture()
    let receiver = try NetmapPort("vale0:r", engine: fixture.engine())
    let sender = try TestProgram(fixture.command(["send", "vale0:s", "1", "100000", "1"]))
    #expect(try receiver.wait(for: .receive, timeout: .seconds(20)) == .receive)
    #expect(rest(of: sender) == "ready\nsent 100000\n")
    _ = sender.wait()
  }

  @Test("60 senders killed at full speed: two listeners get whole packets in order, and go on")
  func killedSenders() throws {
    var generator = SeededGenerator(seed: environmentNumber("NETMAP_TEST_SEED") ?? 7)
    let fixture = try DaemonFixture()
    let listeners = try (0..<2).map { try fixture.peer(["listen", "vale0:l\($0)"]) }
    let watcher = try NetmapPort("vale0:w", engine: fixture.engine())
    for round in 0..<60 {
      let sender = try fixture.peer(["send", "vale0:s", "\(round * 2 + 1)", "0"])
      usleep(.random(in: 0..<4_000, using: &generator))
      sender.kill(SIGKILL)
    }
    // The rings still work.
    while try !numbers(watcher).isEmpty {}
    let last = try fixture.peer(["send", "vale0:s", "1001", "100"])
    #expect(rest(of: last) == "sent 100\n")
    _ = last.wait()
    #expect(try numbers(watcher).count == 100)
    for listener in listeners {
      #expect(kill(listener.process, 0) == 0)
      listener.kill(SIGKILL)
      #expect(rest(of: listener) == "", "nothing was damaged or out of order")
    }
  }

  @Test("60 receivers killed and one stopped: the sender goes on, another one loses nothing")
  func killedReceivers() throws {
    var generator = SeededGenerator(seed: environmentNumber("NETMAP_TEST_SEED") ?? 8)
    let fixture = try DaemonFixture()
    let sender = try NetmapPort("vale0:s", engine: fixture.engine())
    let steady = try NetmapPort("vale0:r", engine: fixture.engine())
    let stopped = try fixture.peer(["listen", "vale0:stopped"])
    kill(stopped.process, SIGSTOP)
    for round in 0..<60 {
      let receiver = try fixture.peer(["listen", "vale0:guest"])
      for step in 0..<Int.random(in: 1..<20, using: &generator) {
        try send(frame(0xff, 1, UInt8(step)), on: sender)
        #expect(try numbers(steady) == [UInt8(step)], "round \(round)")
      }
      receiver.kill(SIGKILL)
    }
    #expect(steady.statistics.receive.drops.total == 0)
    kill(stopped.process, SIGCONT)
    stopped.kill(SIGKILL)
  }
}
