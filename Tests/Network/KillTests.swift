import Glibc
import NetmapTestSupport
import Synchronization
import Testing

/// Processes that are killed at random moments.
@Suite(.serialized) struct KillTests {
  static let choices = ["xdp,mode=copy", "xdp,mode=generic", "packet"]

  /// Sends datagrams to the host behind an interface until it is told to stop.
  private final class Sender: Sendable {
    private let isDone = Atomic(false)
    private let count = Atomic(0)

    /// Frames sent so far.
    var sent: Int { count.load(ordering: .acquiring) }

    func run(on interface: String) -> Bool {
      guard let socket = try? FrameSocket(interface) else { return false }
      let frame = SampleFrames.datagram(port: 9000)
      while !isDone.load(ordering: .relaxed) {
        socket.send(frame)
        count.add(1, ordering: .releasing)
        usleep(300)
      }
      return true
    }

    func stop() { isDone.store(true, ordering: .relaxed) }
  }

  /// How many processes were killed while attached and while detached, and the longest cleanup time.
  private struct Moments {
    var attached = 0
    var detached = 0
    var slowest: Duration = .zero
  }

  @Test(
    "200 processes killed with -9 while they open and close ports leave nothing behind",
    .timeLimit(.minutes(15)))
  func killedAtRandom() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    try NetworkNamespace.run {
      print("killedAtRandom: NETMAP_TEST_SEED=\(seed)")
      let pair = try VethPair()
      try NetworkNamespace.run("ip", "link", "set", pair.first, "address", "02:00:00:00:00:02")
      try NetworkNamespace.run("ip", "address", "add", "10.0.0.2/24", "dev", pair.first)
      let socket = try UDPSocket(port: 9000)
      let clean = InterfaceState(pair.first)
      #expect(!clean.hasXDPProgram && clean.ingressPrograms == 0)
      let sender = Sender()
      let thread = try NamespaceThread { sender.run(on: pair.second) }.start()
      defer { sender.stop() }
      let hostHears = socket.waits(milliseconds: 1000)
      #expect(hostHears)
      // An open port must be visible, or nothing below could fail.
      for choice in Self.choices {
        let holder = try TestProgram([
          driver, "hold", "netmap:\(pair.first)@backend:name=\(choice)",
        ])
        #expect(holder.read().hasPrefix("ready"))
        #expect(InterfaceState(pair.first) != clean)
        _ = socket.drain()
        let stillHears = socket.waits(milliseconds: 20)
        #expect(!stillHears)
        holder.kill(SIGKILL)
      }
      var generator = SeededGenerator(seed: seed)
      var moments = Moments()
      for round in 0..<200 {
        let choice = Self.choices[Int.random(in: 0..<3, using: &generator)]
        let delay = UInt32.random(in: 0..<80_000, using: &generator)
        let child = try TestProgram([
          driver, "churn", "netmap:\(pair.first)@backend:name=\(choice)",
        ])
        #expect(child.read().hasPrefix("ready"))
        usleep(delay)
        if InterfaceState(pair.first) == clean {
          moments.detached += 1
        } else {
          moments.attached += 1
        }
        child.kill(SIGKILL)
        let leftover = try Self.leftover(pair.first, clean, socket, sender, &moments)
        try #require(
          leftover == nil, "seed \(seed), round \(round), \(choice): \(leftover ?? "")")
      }
      sender.stop()
      #expect(try thread.join())
      // Killed while a port was open, and while it was being opened or closed.
      #expect(moments.attached > 20 && moments.detached > 20, "seed \(seed): \(moments)")
      print("killedAtRandom: \(moments)")
      var abandoned = try LoadedBPF.abandoned()
      for _ in 0..<50 where !abandoned.isEmpty {
        usleep(100_000)
        abandoned = try LoadedBPF.abandoned()
      }
      #expect(abandoned.isEmpty, "seed \(seed)")
    }
  }

  /// Waits up to 50 milliseconds until the interface is as before, and then checks that the host
  /// receives packets again.
  ///
  /// - Returns: What is still wrong; nil when nothing is.
  private static func leftover(
    _ interface: String, _ clean: InterfaceState, _ socket: borrowing UDPSocket, _ sender: Sender,
    _ moments: inout Moments
  ) throws -> String? {
    let clock = ContinuousClock()
    let start = clock.now
    let end = start + .milliseconds(50)
    while true {
      // On a busy machine much time may pass here: only the state read after the deadline counts.
      let isLate = clock.now > end
      let state = InterfaceState(interface)
      if state == clean { break }
      if isLate { return "after 50 ms there is \(state), not \(clean)" }
      usleep(500)
    }
    moments.slowest = max(moments.slowest, clock.now - start)
    _ = socket.drain()
    // Count frames instead of time: on a busy machine the sender may not run.
    let before = sender.sent
    while !socket.waits(milliseconds: 2) {
      if sender.sent - before > 30 { return "the host does not get its packets again" }
    }
    let disciplines = try NetworkNamespace.run("tc", "qdisc", "show", "dev", interface)
    return disciplines.contains("clsact") ? "a queueing discipline: \(disciplines)" : nil
  }
}
