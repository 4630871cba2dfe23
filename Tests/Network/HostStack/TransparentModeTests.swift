import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Transparent mode: packets that an application releases with a flag go where they would have gone without it.
@Suite(.serialized) struct TransparentModeTests {
  /// Passes on everything that arrives, from both sides, until `isDone` or 10 seconds have passed.
  private func passOn(_ port: NetmapPort, until isDone: () throws -> Bool) throws -> Bool {
    let end = ContinuousClock.now + .seconds(10)
    while try !isDone() {
      guard ContinuousClock.now < end else { return false }
      _ = try port.wait(for: .receive, timeout: .milliseconds(2))
      for index in 0..<port.receiveRingCount {
        var ring = port.receiveRing(index)
        while ring.passNextOn() {}
      }
      try port.sync(.receive)
    }
    return true
  }

  @Test(
    "packets from the wire go to the host, and packets from the host to the wire",
    arguments: HostFixture.choices)
  func bothWays(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      defer { withExtendedLifetime(fixture) {} }
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: EmbeddedEngine())
      let server = try fixture.start(["serve", "7000"], there: true)
      defer { server.kill(SIGKILL) }
      // Many packets in both directions, IPv4 and IPv6.
      for address in ["10.0.0.2", "fd00::2"] {
        let client = try TestProgram([driver, "udp", address, "7000", "20"])
        let thread = try NamespaceThread { Self.rest(client) }.start()
        #expect(try passOn(port) { hasEnded(client.process) })
        #expect(try thread.join().hasPrefix("ok"))
        _ = client.wait()
      }
    }
  }

  private static func rest(_ program: TestProgram) -> String {
    var text = ""
    while true {
      let more = program.read()
      if more.isEmpty { return text }
      text += more
    }
  }

  /// Whether a child has ended, and waits to be reaped.
  private func hasEnded(_ process: Int32) -> Bool {
    let text = (try? TestProgram.output(of: ["cat", "/proc/\(process)/stat"])) ?? ""
    return text.contains(") Z ")
  }

  @Test("packets of several slots are passed on whole; packets without the flag are not")
  func chosen() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far", mtu: 4000)
      let engine = try EmbeddedEngine()
      let wire = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      let port = try NetmapPort("netmap:near*@backend:name=xdp", engine: engine)
      let host = try FrameSocket("near")
      let frames = (0..<6).map { numberedFrame($0, length: $0 % 2 == 0 ? 100 : 3000) }
      for frame in frames { host.send(frame) }
      var seen = 0
      let end = ContinuousClock.now + .seconds(10)
      while seen < frames.count, ContinuousClock.now < end {
        _ = try port.wait(for: .receive, timeout: .milliseconds(100))
        var ring = port.receiveRing(1)
        while seen < frames.count {
          if seen < 4 {
            guard ring.passNextOn() else { break }
          } else {
            guard ring.next() != nil else { break }
          }
          seen += 1
        }
        try port.sync(.receive)
      }
      #expect(seen == frames.count)
      #expect(try wire.receive(4) == Array(frames[..<4]))
      #expect(try wire.wait(for: .receive, timeout: .milliseconds(200)).isEmpty)
      #expect(port.statistics.receive.drops.total == 0)
    }
  }

  @Test("a port that does not hold the rings it would need discards the packets, and goes on")
  func withoutTargets() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let engine = try EmbeddedEngine()
      let wire = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      let rings = try NetmapPort("netmap:near^", engine: engine)
      let port = try NetmapPort("netmap:near@backend:name=xdp", engine: engine)
      let host = try FrameSocket("near")
      for round in 0..<3 {
        host.send(numberedFrame(round, length: 100))
        #expect(try rings.wait(for: .receive, timeout: .seconds(2)) == .receive)
        var ring = rings.receiveRing(0)
        while ring.passNextOn() {}
        try rings.sync(.receive)
      }
      #expect(try wire.wait(for: .receive, timeout: .milliseconds(100)).isEmpty)
      withExtendedLifetime(port) {}
    }
  }
}
