import CLinux
import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// XDP programs and sockets do not outlive their port or their process.
@Suite(.serialized) struct XDPLifetimeTests {
  static func hasProgram(_ interface: String) throws -> Bool {
    try NetworkNamespace.run("ip", "-d", "link", "show", interface).contains("xdp")
  }

  @Test(
    "closing a port detaches the XDP program from the interface", arguments: ["copy", "generic"])
  func closeRestores(mode: String) throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let port = try NetmapPort(
        "netmap:\(pair.first)@backend:name=xdp,mode=\(mode)", engine: engine)
      #expect(try Self.hasProgram(pair.first))
      port.close()
      #expect(try !Self.hasProgram(pair.first))
    }
  }

  @Test("a process killed with -9 leaves nothing behind, and the next one can open at once")
  func killed() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      for _ in 0..<5 {
        let holder = try TestProgram([driver, "hold", "netmap:\(pair.first)@backend:name=xdp"])
        #expect(holder.read().hasPrefix("ready"))
        #expect(try Self.hasProgram(pair.first))
        holder.kill(9)
        #expect(try !Self.hasProgram(pair.first))
      }
      let (a, b) = try (
        NetmapPort("netmap:\(pair.first)", engine: engine),
        NetmapPort("netmap:\(pair.second)", engine: engine)
      )
      try a.send([numberedFrame(3, length: 60)])
      #expect(try b.receive(1).count == 1)
    }
  }

  @Test("open, send, receive and close work 50 times in a row")
  func cycles() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let frames = (0..<100).map { numberedFrame($0, length: 60 + $0) }
      for _ in 0..<50 {
        let a = try NetmapPort("netmap:\(pair.first)", engine: engine)
        let b = try NetmapPort("netmap:\(pair.second)", engine: engine)
        try a.send(frames)
        #expect(try b.receive(100) == frames)
      }
      #expect(engine.ports.isEmpty)
    }
  }

  @Test("the two directions of a pair can be opened and closed separately")
  func halves() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let peer = try NetmapPort("netmap:\(pair.second)", engine: engine)
      let sender = try NetmapPort("netmap:\(pair.first)/T", engine: engine)
      #expect(try !Self.hasProgram(pair.first))
      for round in 0..<3 {
        let receiver = try NetmapPort("netmap:\(pair.first)/R", engine: engine)
        #expect(try Self.hasProgram(pair.first))
        try sender.send([numberedFrame(round, length: 60)])
        #expect(try peer.receive(1) == [numberedFrame(round, length: 60)])
        try peer.send([numberedFrame(round + 10, length: 60)])
        #expect(try receiver.receive(1) == [numberedFrame(round + 10, length: 60)])
        receiver.close()
      }
      try sender.send([numberedFrame(99, length: 60)])
      #expect(try peer.receive(1).count == 1)
    }
  }

  @Test("a port on one queue leaves the other queues to the host")
  func partialOpen() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair(queues: 2)
      for name in [pair.first, pair.second] {
        try NetworkNamespace.run("ethtool", "-L", name, "rx", "2", "tx", "2")
      }
      let port = try NetmapPort("netmap:\(pair.second)-1", engine: engine)
      #expect(port.geometry.receiveRings == 2)
      #expect(port.receiveRingCount == 1)
      // Frames that a veth sends on queue q arrive on queue q.
      let sender = try NetmapPort("netmap:\(pair.first)", engine: engine)
      for queue in 0..<2 {
        var ring = sender.transmitRing(queue)
        for number in 0..<10 {
          _ = unsafe ring.append(numberedFrame(queue * 100 + number, length: 60).span.bytes)
        }
      }
      try sender.sync(.transmit)
      #expect(try port.receive(10) == (100..<110).map { numberedFrame($0, length: 60) })
      #expect(try hostPackets(pair.second) == 10)
    }
  }

  /// Frames that reached the host's stack, which counts and drops those of an unknown type.
  private func hostPackets(_ interface: String) throws -> Int {
    let text = try NetworkNamespace.run("ip", "-s", "-s", "link", "show", interface)
    let lines = text.split(separator: "\n")
    guard let header = lines.firstIndex(where: { $0.contains("RX:") }) else { return -1 }
    return Int(lines[header + 1].split(separator: " ")[3]) ?? -1
  }

  @Test("an idle receiver uses no CPU time")
  func idle() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let port = try NetmapPort("netmap:\(pair.first)", engine: engine)
      _ = try port.wait(for: .receive, timeout: .milliseconds(10))
      let before = threadNanoseconds()
      #expect(try port.wait(for: .receive, timeout: .seconds(1)).isEmpty)
      #expect(threadNanoseconds() - before < 2_000_000)
      #expect(port.statistics.waitSystemCalls < 10)
    }
  }

  @Test("a sender that waits for room while the interface is down uses almost no CPU time")
  func idleSender() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let port = try NetmapPort("netmap:\(pair.first)", engine: engine)
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      var ring = port.transmitRing(0)
      while ring.append(length: 60) {}
      let before = threadNanoseconds()
      #expect(try port.wait(for: .transmit, timeout: .seconds(1)).isEmpty)
      #expect(threadNanoseconds() - before < 20_000_000)
    }
  }

  private func threadNanoseconds() -> Int {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}
