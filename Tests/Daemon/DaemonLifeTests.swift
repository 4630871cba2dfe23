import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

@Suite("The life of netmapd", .timeLimit(.minutes(15)))
struct DaemonLifeTests {
  @Test("the first program starts netmapd, and it exits after the last one has ended")
  func autoStart() throws {
    let fixture = try DaemonFixture(starts: false)
    let receiver = try fixture.peer(["receive", "netmap:p{1", "10"])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "10"])
    #expect(rest(of: receiver).hasPrefix("received 10"))
    _ = (sender.wait(), receiver.wait())
    // The daemon stays for 5 seconds.
    fixture.waitUntilGone(within: .seconds(20))
  }

  @Test("programs that start at once start one daemon", arguments: 0..<10)
  func race(round: Int) throws {
    let fixture = try DaemonFixture(starts: false)
    let peers = try (0..<6).map { index in
      try TestProgram(
        fixture.command(["send", "netmap:p\(index){1", "1", "100"]))
    }
    for peer in peers {
      let said = rest(of: peer)
      #expect(said.hasPrefix("ready"), "\(said)")
      #expect(!said.contains("failed"), "\(said)")
      #expect(peer.wait() == 0)
    }
    for process in try daemons(of: fixture) { kill(process, SIGTERM) }
    fixture.waitUntilGone(within: .seconds(5))
  }

  /// The daemons that listen on the fixture's socket.
  private func daemons(of fixture: DaemonFixture) throws -> [pid_t] {
    let found = try TestProgram(["pgrep", "-f", "--", "--socket \(fixture.socket)"])
    let processes = rest(of: found).split(separator: "\n").compactMap { pid_t($0) }
    _ = found.wait()
    #expect(processes.count == 1, "\(processes)")
    for process in processes {
      #expect(try TestProgram.output(of: ["cat", "/proc/\(process)/comm"]) == "netmapd\n")
    }
    return processes
  }

  @Test("SIGTERM ends netmapd cleanly; traffic goes on, and the next open reports the reason")
  func terminated() throws {
    let fixture = try DaemonFixture()
    let engine = try fixture.engine()
    let (a, b) = (
      try NetmapPort("netmap:p{1", engine: engine), try NetmapPort("netmap:p}1", engine: engine)
    )
    fixture.endDaemon(SIGTERM)
    for _ in 0..<3 {
      try a.inject([1])
      try a.sync(.transmit)
      #expect(try b.wait(for: .receive, timeout: .seconds(5)) == .receive)
      var ring = b.receiveRing(0)
      ring.skip()
    }
    let error = #expect(throws: NetmapError.self) { try NetmapPort("netmap:q{1", engine: engine) }
    #expect(error?.code.name == "ECONNREFUSED", "\(String(describing: error))")
    try fixture.start()
    _ = try NetmapPort("netmap:q{1", engine: engine)
    // The old pipe belongs to the previous daemon, and still works.
    try a.inject([1])
    try a.sync(.transmit)
    #expect(try b.wait(for: .receive, timeout: .seconds(5)) == .receive)
  }

  @Test("a second daemon on the same socket refuses to start")
  func second() throws {
    let fixture = try DaemonFixture()
    let other = try TestProgram(
      [TestProgram.built("netmapd"), "--foreground", "--socket", fixture.socket])
    let said = rest(of: other)
    #expect(said.contains("EADDRINUSE") && said.contains("--socket"), "\(said)")
    #expect(other.wait() != 0)
    _ = try NetmapPort("netmap:p{1", engine: try fixture.engine())
  }

  @Test(
    "root without the right to configure interfaces starts its own daemon, not the host's",
    .needsRoot)
  func withoutCapabilities() throws {
    let fixture = try DaemonFixture(starts: false)
    // A host without a running daemon, whose folder for it is readable.
    let script = """
      mount -t tmpfs none /run && XDG_RUNTIME_DIR=\(fixture.folder) NETMAPD=\(TestProgram.built("netmapd")) \
        setpriv --bounding-set=-net_admin \(TestProgram.built("host-peer")) send 'netmap:p{1' 1 10 &&
        ls /run \(fixture.folder)/netmap
      """
    let program = try TestProgram([
      "env", "-u", "NETMAP_SOCKET", "unshare", "-m", "sh", "-c", script,
    ])
    let said = program.finish()
    #expect(said.status == 0, "\(said)")
    #expect(said.output.contains("sent 10"), "\(said)")
    #expect(said.output.contains("netmapd.sock"), "\(said)")
    #expect(!said.output.contains("/run:\nnetmap\n"), "\(said)")
    let socket = "\(fixture.folder)/netmap/netmapd.sock"
    // The daemon exits by itself, 5 seconds after the last port.
    for _ in 0..<2000 where unsafe access(socket, F_OK) == 0 { usleep(10_000) }
    #expect(unsafe access(socket, F_OK) != 0)
    for name in ["netmapd.sock.lock", "netmapd.sock.log", "netmapd.sock.regions"] {
      unsafe unlink("\(fixture.folder)/netmap/\(name)")
    }
    unsafe rmdir("\(fixture.folder)/netmap")
  }

  @Test("another version is refused with a message that says so")
  func version() throws {
    let fixture = try DaemonFixture()
    let socket = try #require(try DaemonAddress(path: fixture.socket).connect())
    var bytes = Message.bytes(.hello)
    bytes[4] &+= 1
    try socket.send(bytes)
    let answer = try #require(try socket.receive(waits: true))
    let error = #expect(throws: NetmapError.self) { _ = try Message(answer.bytes).answer() }
    #expect(error?.code == .otherVersion)
    #expect(error?.remedy.contains("netmapd") == true)
  }

  @Test("a datagram that is too long is refused")
  func tooLong() throws {
    let fixture = try DaemonFixture()
    let socket = try #require(try DaemonAddress(path: fixture.socket).connect())
    try socket.send([UInt8](repeating: 1, count: 60_000))
    _ = try NetmapPort("netmap:p{1", engine: try fixture.engine())
  }
}
