import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Runs vale-ctl as a process, with a private daemon.
@Suite("vale-ctl", .timeLimit(.minutes(15)))
struct ValeCtlTests {
  private let fixture: DaemonFixture

  init() throws { fixture = try DaemonFixture() }

  /// Runs a tool; `line` has its arguments, separated by spaces.
  ///
  /// - Returns: The exit status, and the standard output and error.
  private func run(_ line: String, tool: String = "vale-ctl") throws -> (status: CInt, text: String)
  {
    let program = try TestProgram(
      [TestProgram.built(tool)] + line.split(separator: " ").map(String.init),
      environment: [
        "NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd"),
      ])
    let text = rest(of: program)
    let status = program.wait()
    return (status & 0x7f == 0 ? status >> 8 : -1, text)
  }

  private func status(_ line: String) throws -> CInt { try run(line).status }

  @Test("ports are created, attached twice, listed, detached and removed, with upstream's statuses")
  func sequence() throws {
    #expect(try run("") == (0, ""), "an empty system prints nothing")
    #expect(try run("-n v0") == (0, ""))
    #expect(try status("-n v0") == 1)
    #expect(try status("-a vale0:v0") == 0)
    #expect(try status("-a vale0:v0") == 1)
    #expect(try status("-n v0") == 1)
    #expect(try status("-a vale1:v0") == 0)
    #expect(try status("-r v0") == 1)
    #expect(
      try run("").text
        == "vale0:v0 bridge_idx 0 port_idx 0\nvale1:v0 bridge_idx 1 port_idx 0\n")
    #expect(try run("-l vale0:v0").text == "bridge_idx: 0\nport_idx:   0\n")
    #expect(try status("-d vale0:v0") == 1, "the later one goes first")
    #expect(try run("-v -d vale1:v0") == (0, "port_index: 0\n"))
    #expect(try status("-r v0") == 1)
    #expect(try status("-d vale0:v0") == 0)
    #expect(try status("-r v0") == 0)
    #expect(try status("-r v0") == 1)
    #expect(try run("").text == "")
  }

  /// utils/tests 002, 005, 009 to 011, 013, 016, 022 and 026 of upstream, the parts that use `vale-ctl`.
  @Test("the sequences of upstream's tests with persistent ports, while programs have them open")
  func upstreamSequences() throws {
    func expect(_ steps: [(line: String, status: CInt)], _ line: Int = #line) throws {
      for step in steps {
        #expect(try status(step.line) == step.status, "line \(line): vale-ctl \(step.line)")
      }
    }
    // 011: created twice, also while attached to one switch and to two.
    try expect([
      ("-n v0", 0), ("-n v0", 1), ("-a vale0A:v0", 0), ("-n v0", 1), ("-a vale0B:v0", 0),
      ("-n v0", 1),
    ])
    // 009: attached to two switches; the later one is detached first, and the port is removed only when it is
    // on none.
    try expect([
      ("-r v0", 1), ("-d vale0B:v0", 0), ("-r v0", 1), ("-d vale0A:v0", 0), ("-r v0", 0),
    ])
    // 010: the same switch twice.
    try expect([
      ("-n v0", 0), ("-a vale0A:v0", 0), ("-a vale0A:v0", 1), ("-a vale0B:v0", 0),
      ("-a vale0B:v0", 1), ("-d vale0B:v0", 0), ("-d vale0A:v0", 0), ("-r v0", 0),
    ])
    // 002 and similar tests: open ports can be neither detached nor removed, and are exclusive.
    try expect([("-n v0", 0), ("-n v1", 0), ("-a vale0:v0", 0), ("-a vale0:v1", 0)])
    let engine = try fixture.engine()
    let port = try NetmapPort("netmap:v0/x", engine: engine)
    for name in ["netmap:v0", "netmap:v0/x", "vale0:v0"] {
      #expect(
        (#expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) })?.code == .busy)
    }
    // 013, 022: traffic in both directions.
    let other = try NetmapPort("netmap:v1", engine: engine)
    for (sender, receiver) in [(port, other), (other, port)] {
      try sender.inject([UInt8](repeating: 0xff, count: 6) + [2, 0, 0, 0, 0, 9, 0x88, 0xb5])
      try sender.sync(.transmit)
      try receiver.sync(.receive)
      var ring = receiver.receiveRing(0)
      #expect(ring.count == 1)
      ring.skip()
    }
    try expect([("-d vale0:v0", 1), ("-r v0", 1), ("-a vale1:v0", 1), ("-d vale0:nosuch", 1)])
    port.close()
    other.close()
    try expect([
      ("-d vale0:v0", 0), ("-d vale0:v0", 1), ("-d vale0:v1", 0), ("-r v0", 0), ("-r v1", 0),
      ("-r v1", 1),
    ])
    #expect(try run("").text == "")
  }

  @Test("a port is attached with back-pressure: its sender waits, and nothing is dropped")
  func backpressure() throws {
    #expect(try status("-n v0 -C 64") == 0)
    #expect(try status("-a vale0:v0@backpressure") == 0)
    #expect(try run("").text == "vale0:v0 bridge_idx 0 port_idx 0\n")
    let receiver = try NetmapPort("netmap:v0", engine: fixture.engine())
    let sender = try NetmapPort("vale0:s", engine: fixture.engine())
    let frame = [UInt8](repeating: 0xff, count: 6) + [UInt8](repeating: 2, count: 54)
    for _ in 0..<100 { try sender.inject(frame) }
    try sender.sync(.transmit)
    #expect(sender.transmitRing(0).space == 1023 - 37)
    try receiver.sync(.receive)
    var ring = receiver.receiveRing(0)
    #expect(ring.skip() == 63)
    try receiver.sync(.receive)
    try sender.sync(.transmit)
    try receiver.sync(.receive)
    #expect(receiver.receiveRing(0).count == 37)
  }

  @Test("drops are shown by reason, and add up with what was sent and received")
  func reasons() throws {
    let receiver = try NetmapPort("vale0:r@conf:slots=16", engine: fixture.engine())
    let sender = try NetmapPort("vale0:s", engine: fixture.engine())
    for _ in 0..<20 { try sender.inject([UInt8](repeating: 0xff, count: 60)) }
    for _ in 0..<3 { try sender.inject([1, 2, 3]) }
    try sender.sync(.transmit)
    try receiver.sync(.receive)
    let text = try run("--counters").text
    #expect(
      text.contains(
        "vale0:r bridge_idx 0 port_idx 0 tx_packets 0 tx_bytes 0 tx_drops 0 rx_packets 15"
          + " rx_bytes 900 rx_drops 5 rx_drop_ring_full 5\n"), "\(text)")
    #expect(
      text.contains(
        "vale0:s bridge_idx 0 port_idx 1 tx_packets 23 tx_bytes 1209 tx_drops 3 rx_packets 0"
          + " rx_bytes 0 rx_drops 0 tx_broadcasts 20 tx_copies 20 tx_drop_too_short 3\n"),
      "\(text)")
    let json = try run("--json --counters").text
    #expect(json.contains("\"rx_drop_ring_full\":5") && json.contains("\"rx_drop_busy\":0"))
    let ports = try run("ports", tool: "netmap").text
    #expect(ports.contains("5 (ring_full 5)") && ports.contains("3 (too_short 3)"), "\(ports)")
    #expect(
      try run("ports --json", tool: "netmap").text.contains(
        "\"reasons\":{\"ring_full\":5,\"bad_buffer_index\":0"))
  }

  @Test("rings of a new port, and its description")
  func information() throws {
    #expect(
      try run("-n v1 -v -C 512,256,2,4").text
        == "tx_slots:   512\nrx_slots:   256\ntx_rings:   2\nrx_ring:    4\nmem_id:     2\n")
    let shown = try run("-g v1").text.split(separator: "\n").map(String.init)
    #expect(shown.count == 6)
    #expect(shown[0].hasPrefix("memsize:    "))
    #expect(
      Array(shown[1...]) == [
        "tx_slots:   512", "rx_slots:   256", "tx_rings:   2", "rx_rings    4", "mem_id:     2",
      ])
    #expect(try run("-n v2 -v -m v1").text.hasSuffix("mem_id:     2\n"))
    #expect(try run("--json -g v2").text.hasPrefix("{\"name\":\"v2\",\"memsize\":"))
  }

  @Test(
    "errors name what failed, the port, and the reason",
    arguments: [
      ("-a vale0:nosuch", "failed to attach vale0:nosuch: Invalid argument"),
      ("-d vale0:x", "failed to detach vale0:x: No such device or address"),
      ("-r nosuch", "failed to remove nosuch: No such device or address"),
      ("-n vale0:x", "failed to create vale0:x: Invalid argument"),
      ("-l vale7:x", "failed to list vale7:x: No such file or directory"),
      ("-g nosuch", "failed to obtain info for nosuch: No such device or address"),
      ("-p vale0:x -C 0,1", "failed to enable polling on vale0:x: No such device or address"),
      ("-P vale0:x", "failed to disable polling on vale0:x: No such device or address"),
      ("-q", "bad option -q"), ("-v", "Usage: vale-ctl"), ("extra", "Usage: vale-ctl"),
    ])
  func errors(line: String, message: String) throws {
    let (status, text) = try run(line)
    #expect(status == 1)
    #expect(text.contains(message), "\(text)")
  }

  @Test("a persistent port outlives programs, carries their packets, and counts them")
  func traffic() throws {
    #expect(try status("-n v0") == 0)
    #expect(try status("-a vale0:v0") == 0)
    let receiver = try NetmapPort("netmap:v0", engine: fixture.engine())
    let sender = try run("-i vale0:s -f tx -n 100", tool: "pkt-gen")
    #expect(sender.status == 0, "\(sender.text)")
    try receiver.sync(.receive)
    #expect(receiver.receiveRing(0).count == 100)
    #expect(
      try run("--counters").text
        == "vale0:v0 bridge_idx 0 port_idx 0 tx_packets 0 tx_bytes 0 tx_drops 0"
        + " rx_packets 100 rx_bytes 6000 rx_drops 0\n")
    #expect(try run("--json --counters").text.contains("\"rx_packets\":100"))
    receiver.close()
    #expect(try run("").text == "vale0:v0 bridge_idx 0 port_idx 0\n")
  }

  @Test("pkt-gen in two processes: one receives every packet that the other sends")
  func twoProcesses() throws {
    let environment = [
      "NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd"),
    ]
    let receiver = try TestProgram(
      [TestProgram.built("pkt-gen"), "-i", "vale0:a", "-f", "rx", "-n", "1000"],
      environment: environment)
    var said = ""
    while !said.contains("reading from") { said += receiver.read() }
    let sender = try TestProgram(
      [TestProgram.built("pkt-gen"), "-i", "vale0:b", "-f", "tx", "-n", "1000"],
      environment: environment)
    #expect(rest(of: sender).contains("Sent 1000 packets 60000 bytes"))
    #expect(rest(of: receiver).contains("Received 1000 packets 60000 bytes"))
    #expect(sender.wait() == 0 && receiver.wait() == 0)
  }
}
