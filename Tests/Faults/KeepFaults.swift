import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Processes that are killed while they hold packets in extra buffers.
@Suite("Killed processes that keep packets", .timeLimit(.minutes(faultMinutes)))
struct KeepFaults {
  /// The number of extra buffers of host-peer's `keep`.
  private static let extraBuffers = 16

  /// A sender on one end of a pipe, which also keeps the pipe's memory region.
  private struct Testbed {
    let fixture: DaemonFixture
    let sender: TestProgram
    /// Buffers in use when the other end is closed.
    let buffers: Int

    init() throws {
      fixture = try DaemonFixture()
      // The other end's rings exist from its first open on.
      sender = try fixture.peer(["send", "netmap:k{1", "1", "0", "8"])
      try NetmapPort(
        "netmap:k}1/x", extraBuffers: KeepFaults.extraBuffers, engine: try fixture.engine()
      ).close()
      try fixture.expectOpen(1, "before")
      buffers = try fixture.expectSound("before").report.buffers
    }

    /// Expects that the keeper's port is closed, that none of its buffers is missing, and that the next process gets
    /// all of its rings and extra buffers.
    func expectReturned(_ context: String) throws {
      try fixture.expectOpen(1, context)
      #expect(try fixture.expectSound(context).report.buffers == buffers, "\(context)")
      let next = try NetmapPort(
        "netmap:k}1/x", extraBuffers: KeepFaults.extraBuffers, engine: try fixture.engine())
      #expect(next.extraBufferCount == KeepFaults.extraBuffers, "\(context)")
      var (received, empty) = (0, 0)
      while received < 200 {
        try #require(
          try next.wait(for: .receive, timeout: .seconds(20)) == .receive, "\(context): no packet")
        var ring = next.receiveRing(0)
        received += ring.forEach { packet in
          if packet.length == 0 { empty += 1 } else { #expect(packet.length == 60, "\(context)") }
        }
      }
      // The slot of the packet that was being kept.
      #expect(empty <= 1, "\(context)")
      // A program that another test starts has, until it executes, a copy of this port's token. The port is exclusive, so
      // the next process could not open it meanwhile.
      next.close()
      let end = ContinuousClock.now + .seconds(60)
      let engine = try fixture.engine()
      while try engine.check().bindings > 1, ContinuousClock.now < end { usleep(1000) }
    }

    func end() throws {
      sender.kill(SIGKILL)
      try fixture.expectEmpty("at the end")
    }
  }

  @Test("a process killed while it holds packets: its port closes, and all its buffers come back")
  func holders() throws {
    let testbed = try Testbed()
    for round in 0..<faultRounds / 4 {
      let context = "round \(round)"
      let count = 1 + round % Self.extraBuffers
      let keeper = try testbed.fixture.peer(["keep", "netmap:k}1/x", "\(count)"])
      let said = keeper.readLine()
      #expect(said.hasPrefix("kept \(count)"), "\(context): \(said)")
      // Kept buffers are no finding while their process lives.
      try testbed.fixture.expectSound(context)
      keeper.kill(SIGKILL)
      try testbed.expectReturned(context)
    }
    try testbed.end()
  }

  @Test("processes killed while they keep, send and discard packets: no buffer is lost")
  func atFullSpeed() throws {
    var (seed, generator) = seededGenerator("keepers")
    let testbed = try Testbed()
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      let keeper = try testbed.fixture.peer(["keep", "netmap:k}1/x", "0"])
      usleep(.random(in: 0..<3_000, using: &generator))
      keeper.send(SIGKILL)
      let said = rest(of: keeper)
      #expect(said.isEmpty, "\(context): \(said)")
      keeper.wait()
      try testbed.expectReturned(context)
    }
    try testbed.end()
  }
}
