import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// A token outlives the process that opened the port: processes inherit it, keep it across exec, and pass it
/// on.
@Suite("Ports handed over to other processes", .timeLimit(.minutes(faultMinutes)))
struct HandoverFaults {
  @Test(
    "fork, daemonise and exec while attached: a process with the token can use the port",
    arguments: ["fork", "daemonise", "exec"])
  func handOver(_ way: String) throws {
    var (seed, generator) = seededGenerator(way)
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let sender = try NetmapPort("netmap:p{1", engine: engine)
    for round in 0..<faultRounds {
      let context = "\(way), seed \(seed), round \(round)"
      let count = Int.random(in: 1...500, using: &generator)
      let opener = try TestProgram(
        fixture.command(["hand-over", way, "netmap:p}1/x", "\(count)"]))
      let before = Int.random(in: 0...count, using: &generator)
      try send(0..<before, on: sender)
      var said = ""
      if way == "fork" {
        // Once the child is ready, kill the opener.
        said += opener.read()
        opener.send(SIGKILL)
      }
      try send(before..<count, on: sender)
      said += rest(of: opener)
      #expect(
        said == "ready\nreceived \(count) of 1, last \(count - 1)\n", "\(context): \(said)")
      opener.wait()
      try fixture.expectSound(context)
      // The last copy of the token is closed, so the next process can open the exclusive port.
    }
    try fixture.expectOpen(1, "\(way), seed \(seed)")
  }

  /// Sends packets in the format that host-peer's receivers expect.
  private func send(_ numbers: Range<Int>, on port: NetmapPort) throws {
    for number in numbers {
      var bytes = [UInt8](repeating: 0, count: 60)
      let sender: UInt64 = 9
      let check =
        (sender &* 0x9e37_79b9_7f4a_7c15) ^ (UInt64(number) &* 0xbf58_476d_1ce4_e5b9)
      for (offset, value) in [(0, sender), (8, UInt64(number)), (52, check)] {
        unsafe withUnsafeBytes(of: value) { word in
          for index in 0..<8 { bytes[offset + index] = unsafe word[index] }
        }
      }
      while (try? port.inject(bytes)) == nil {
        try #require(
          try port.wait(for: .transmit, timeout: .seconds(20)) == .transmit, "nobody receives")
      }
      if number % 32 == 31 { try port.sync(.transmit) }
    }
    try port.sync(.transmit)
  }

  @Test("a port whose token was received over a socket is used, and outlives its opener's copy")
  func received() throws {
    let fixture = try DaemonFixture()
    let port = try NetmapPort("netmap:p{1", engine: try fixture.engine())
    let peer = try NetmapPort("netmap:p}1", engine: try fixture.engine())
    let (mine, theirs) = try MessageSocket.pair()
    let copy = try port.duplicateToken()
    try mine.send([1], [copy])
    close(copy)
    let mail = try #require(try theirs.receive(within: 20))
    // Another engine is another client, as in another process.
    let receiver = try fixture.engine()
    let passed = try receiver.port(token: try #require(mail.files.first).duplicate())
    _ = consume mail
    #expect(passed.name == "p{1")
    #expect(passed.memoryID == port.memoryID)
    try passed.inject([1, 2, 3])
    try passed.sync(.transmit)
    #expect(try peer.wait(for: .receive, timeout: .seconds(20)) == .receive)
    // Both use one ring, also after the opener has closed its port.
    port.close()
    #expect(try fixture.expectSound("after the opener's close").bindings == 2)
    try passed.inject([4])
    try passed.sync(.transmit)
    #expect(peer.receiveRing(0).count == 1)
    try peer.sync(.receive)
    #expect(peer.receiveRing(0).count == 2)
    passed.close()
    for _ in 0..<5000 where try receiver.listing().count != 1 { usleep(1000) }
    #expect(try receiver.listing().map(\.name) == ["p}1"])
  }

  @Test("descriptors other than tokens, and tokens without a port, are refused with a reason")
  func noToken() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let port = try NetmapPort("netmap:p{1", engine: engine)
    let file = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    var error = #expect(throws: NetmapError.self) { _ = try engine.port(token: file) }
    #expect(error?.code.name == "ENOTSOCK")
    let unbound = try #require(try DaemonAddress(path: fixture.socket).connect(for: .token))
    error = #expect(throws: NetmapError.self) {
      _ = try engine.port(token: dup(unbound.descriptor))
    }
    #expect(error?.code == .badDescriptor, "\(String(describing: error))")
    let embedded = try NetmapPort("netmap:p{1", engine: try EmbeddedEngine())
    error = #expect(throws: NetmapError.self) { _ = try embedded.duplicateToken() }
    #expect(error?.code == .unsupported)
    port.close()
    error = #expect(throws: NetmapError.self) { _ = try port.duplicateToken() }
    #expect(error?.code == .badDescriptor)
  }
}
