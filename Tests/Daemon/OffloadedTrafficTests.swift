import Glibc
import Netmap
import NetmapClient
import NetmapTestSupport
import Testing

/// Two hosts with their default settings, which leave checksums and segmentation to their interfaces, behind the
/// interfaces of a switch or of an application.
@Suite("Traffic of hosts that offload", .serialized, .timeLimit(.minutes(15)))
struct OffloadedTrafficTests {
  /// What connects the interfaces `one` and `two`.
  enum Path: String, CaseIterable, Sendable {
    /// A switch.
    case vale
    /// The example `forward`, with the backend of its own choice or another one.
    case forward, xdp, packet
  }

  private static let addresses = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")]

  private func withHosts(
    _ path: Path, _ body: (_ first: OtherHost, _ second: OtherHost) throws -> Void
  ) throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let (first, second) = (try OtherHost(), try OtherHost())
      for (near, far) in [("one", "host1"), ("two", "host2")] {
        try NetworkNamespace.run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
      }
      try first.take("host1", "10.0.0.1/24", "fd00::1/64")
      try second.take("host2", "10.0.0.2/24", "fd00::2/64")
      try NetworkNamespace.setUp("one", "two")
      let engine = try fixture.engine()
      var forwarder: TestProgram?
      if path == .vale {
        for name in ["one", "two"] {
          let (status, text) = try SwitchedInterfaceTests.run(fixture, "-a vale0:\(name)")
          try #require(status == 0, "\(text)")
        }
      } else {
        let choice = path == .forward ? "" : "@backend:name=\(path.rawValue)"
        forwarder = try TestProgram(
          [TestProgram.built("forward"), "netmap:one\(choice)", "netmap:two\(choice)"],
          environment: ["NETMAP_SOCKET": fixture.socket])
      }
      defer { forwarder?.kill(SIGKILL) }
      func ports() throws -> [PortListing] {
        try engine.listing().filter { $0.name == "one" || $0.name == "two" }
      }
      for _ in 0..<1000 where try ports().count < 2 { usleep(10_000) }
      try body(first, second)
      let listing = try ports()
      #expect(listing.count == 2)
      for port in listing {
        #expect(port.receive.repairs.checksums > 0, "\(port)")
        #expect(port.receive.reasons[.unfinished] == 0, "\(port)")
        #expect(port.backend.hasPrefix(path == .packet ? "packet" : "xdp copy"), "\(port)")
      }
      let text = try SwitchedInterfaceTests.run(fixture, "ports", tool: "netmap").text
      #expect(text.contains("\none: completed in received packets: checksums "), "\(text)")
      let lines = try SwitchedInterfaceTests.run(fixture, "ports --json", tool: "netmap").text
      #expect(lines.contains("\"repairs\":{\"checksums\":"), "\(lines)")
    }
  }

  /// Bytes of a file, from its byte number `start` on.
  private static func file(_ start: Int, _ count: Int) -> [UInt8] {
    (start..<start + count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 9)) }
  }

  /// Sends a file over a connection in another thread, and compares what arrives.
  ///
  /// - Returns: How many bytes have arrived as they were sent.
  private func copy(
    _ byteCount: Int, from sender: HostSocket, to receiver: HostSocket
  ) throws -> Int {
    let piece = 1 << 16
    let thread = try NamespaceThread {
      stride(from: 0, to: byteCount, by: piece).allSatisfy { start in
        (try? sender.send(Self.file(start, min(piece, byteCount - start)))) != nil
      }
    }.start()
    var intact = 0
    while intact < byteCount {
      let bytes = try receiver.receive()
      guard !bytes.isEmpty, bytes == Self.file(intact, bytes.count) else { break }
      intact += bytes.count
    }
    #expect(try thread.join())
    return intact
  }

  @Test(
    "TCP carries a file in both directions, intact, over IPv4 and IPv6", arguments: Path.allCases)
  func tcp(path: Path) throws {
    try withHosts(path) { first, second in
      for (here, there) in Self.addresses {
        let listener = try HostSocket(.tcp, on: second, there, port: 5000)
        let client = try HostSocket(.tcp, on: first, here, port: 6000, listens: false)
        try client.connect(there, port: 5000)
        let server = try listener.accept()
        let byteCount = 16 << 20
        #expect(try copy(byteCount, from: client, to: server) == byteCount)
        #expect(try copy(byteCount, from: server, to: client) == byteCount)
      }
    }
  }

  @Test(
    "UDP arrives intact in both directions, in one packet and in fragments",
    arguments: Path.allCases)
  func udp(path: Path) throws {
    try withHosts(path) { first, second in
      for (here, there) in Self.addresses {
        let one = try HostSocket(.udp, on: first, here, port: 7000)
        let two = try HostSocket(.udp, on: second, there, port: 7001)
        try one.connect(there, port: 7001)
        try two.connect(here, port: 7000)
        for count in [0, 1, 100, 1452, 1453, 1472, 1473, 5000, 20_000] {
          for (sender, receiver) in [(one, two), (two, one)] {
            try sender.send(Self.file(count, count))
            #expect(try receiver.receive() == Self.file(count, count), "\(count) bytes, \(here)")
          }
        }
      }
    }
  }
}
