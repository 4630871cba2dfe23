import Glibc
import NetmapTestSupport
import Testing

/// Long streams through an application that bridges an interface and its host rings.
///
/// 200 MB in all by default; NETMAP_TEST_BYTES in the environment is the length of each of the four streams.
@Suite(.serialized, .timeLimit(.minutes(60))) struct TransferTests {
  private static let bytes = environmentNumber("NETMAP_TEST_BYTES") ?? 50_000_000

  /// Counters of the kernel's TCP in the calling thread's namespace: `/proc/net/netstat` and `/proc/net/snmp`.
  private func counters(_ command: ([String]) throws -> String) throws -> [String: Int] {
    let text = try command(["cat", "/proc/self/net/netstat", "/proc/self/net/snmp"])
    let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    var result: [String: Int] = [:]
    for index in stride(from: 0, to: lines.count - 1, by: 2) where lines[index].count > 1 {
      for (name, value) in zip(lines[index], lines[index + 1]).dropFirst() {
        result["\(lines[index][0])\(name)"] = Int(value)
      }
    }
    return result
  }

  /// Counters of which each stands for segments that TCP sends again although nothing of ours has lost them: probes for
  /// a loss at the end, and segments that the receiver had already.
  private static let harmless = [
    "TcpExt:TCPLossProbes", "TcpExt:TCPDSACKRecv", "TcpExt:TCPDSACKOfoRecv",
  ]

  @Test("SHA-256 of long streams, IPv4 and IPv6, both ways; segments sent again are accounted for")
  func digests() throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let bridge = try fixture.start(["bridge", "netmap:near@backend:name=xdp", "netmap:near^"])
      defer { bridge.send(SIGKILL) }
      var (repeated, harmless) = (0, 0)
      for (far, near) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")] {
        for isOutgoing in [true, false] {
          let sender = { (command: [String]) in
            try TestProgram.output(of: isOutgoing ? command : fixture.thereCommand(command))
          }
          let before = try counters(sender)
          try transfer(fixture, to: isOutgoing ? far : near, isOutgoing: isOutgoing)
          let after = try counters(sender)
          func rise(_ counter: String) -> Int {
            after[counter, default: 0] - before[counter, default: 0]
          }
          repeated += rise("Tcp:RetransSegs")
          harmless += Self.harmless.map(rise).reduce(0, +)
          #expect(rise("Tcp:OutSegs") > 100)
        }
      }
      bridge.send(SIGTERM)
      let said = rest(of: bridge)
      let drops = try #require(
        Int(said.trimmingPrefix("dropped ").prefix { $0 != "\n" }), "\(said)")
      #expect(bridge.wait() == 0)
      print(
        "\(repeated) segments sent again; \(drops) packets dropped, \(harmless) probes and duplicates"
      )
      #expect(repeated <= drops + harmless)
    }
  }

  /// Sends one stream of random bytes, and compares the sums of the two ends.
  private func transfer(_ fixture: HostFixture, to address: String, isOutgoing: Bool) throws {
    let drain = ["bash", "-c", "\"$0\" drain 7100 | sha256sum", driver]
    let receiver = try TestProgram(
      isOutgoing ? fixture.thereCommand(drain) : drain, separatesErrors: true)
    // tee(1) gives the stream to the connection and to sha256sum. The receiver may not listen yet.
    let pour = """
      exec 3>&1; head -c "$1" /dev/urandom | tee >(sha256sum >&3) | \
      { for i in $(seq 200); do "$0" pour "$2" 7100 3>&- && exit 0; sleep 0.05; done; exit 1; }
      """
    let (status, sent) = try TestProgram(
      (isOutgoing ? [] : fixture.thereCommand([]))
        + ["bash", "-c", pour, driver, "\(Self.bytes)", address]
    ).finish()
    let received = receiver.end()
    let sum = received.output.prefix(64)
    #expect(status == 0 && received.status == 0, "\(address): \(sent) \(received)")
    #expect(sum.count == 64 && sent.contains(sum), "\(address): \(sent) \(received)")
    print("to \(address): \(received.errors.prefix { $0 != "\n" })")
  }
}
