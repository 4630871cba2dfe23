import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Network interfaces that vale-ctl attaches to a switch of netmapd.
@Suite("Interfaces on a switch", .serialized, .timeLimit(.minutes(15)))
struct SwitchedInterfaceTests {
  /// Runs a program with the fixture's daemon; `line` has its arguments, separated by spaces.
  ///
  /// - Returns: The exit status, and the standard output and error.
  @discardableResult
  static func run(
    _ fixture: DaemonFixture, _ line: String, tool: String = "vale-ctl", wrapper: [String] = []
  ) throws -> (status: CInt, text: String) {
    let result = try TestProgram(
      wrapper + [TestProgram.built(tool)] + line.split(separator: " ").map(String.init),
      environment: [
        "NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd"),
      ]
    ).finish()
    return (result.status, result.output)
  }

  /// Runs `body` in a namespace with a daemon and a veth pair whose first end is `vale0:v0`.
  func withSwitch(
    queues: Int = 1, _ body: (DaemonFixture, VethPair) throws -> Void
  ) throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = queues == 1 ? try VethPair() : try DaemonInterfaceTests.twoQueues()
      let (status, text) = try Self.run(fixture, "-a vale0:v0")
      try #require(status == 0, "\(text)")
      try body(fixture, pair)
    }
  }

  func frame(_ number: UInt8, to target: UInt8 = 0xff, from source: UInt8 = 1) -> [UInt8] {
    [target == 0xff ? 0xff : 2, target, target, target, target, target]
      + [2, source, source, source, source, source, 0x88, 0xb5, number]
      + [UInt8](repeating: number, count: 45)
  }

  func send(_ frames: [UInt8]..., on port: NetmapPort) throws {
    for frame in frames { try port.inject(frame) }
    try port.sync(.transmit)
  }

  /// Whether this package has nothing attached to an interface.
  private func isNormal(_ name: String) -> Bool {
    let state = InterfaceState(name)
    return !state.hasXDPProgram && state.ingressPrograms == 0
  }

  @Test("a process on vale0:p answers the ping of a host in another network namespace")
  func ping() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      _ = try VethPair()
      // The far end is in this namespace; the switch's end is in the namespace of another process.
      let other = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 100"])
      defer { other.kill(SIGKILL) }
      #expect(other.readLine() == "ready\n")
      try NetworkNamespace.run("ip", "link", "set", "v1", "netns", "\(other.process)")
      let there = ["nsenter", "-t", "\(other.process)", "-n"]
      _ = try TestProgram.output(of: there + ["ip", "link", "set", "v1", "up"])
      try NetworkNamespace.run("ip", "addr", "add", "10.9.0.1/24", "dev", "v0")
      try NetworkNamespace.run("ip", "link", "set", "v0", "arp", "on", "up")
      let refused = try Self.run(fixture, "-a vale0:v1")
      #expect(refused.status == 1 && refused.text.contains("there is no interface v1"))
      let mapped = try Self.run(fixture, "-v -a vale0:v1", wrapper: there)
      // The note says that the peer of v1 may leave checksums unfinished.
      #expect(mapped.status == 0 && mapped.text.hasSuffix("port_index: 0\n"), "\(mapped.text)")
      try NetworkNamespace.setUp("v0")
      let responder = try TestProgram(
        [TestProgram.built("responder"), "vale0:p", "10.9.0.2"],
        environment: ["NETMAP_SOCKET": fixture.socket])
      defer { responder.kill(SIGKILL) }
      // Wait until the responder has its port.
      let end = ContinuousClock.now + .seconds(10)
      while try fixture.engine().listing().count < 3, ContinuousClock.now < end { usleep(1000) }
      let host = try EchoSocket()
      for number in 0..<20 as Range<UInt16> {
        #expect(try host.ping((10, 9, 0, 2), number: number), "request \(number)")
      }
      #expect(try host.ping((10, 9, 0, 3), number: 99, milliseconds: 50) == false)
      try fixture.expectSound("after ping")
    }
  }

  @Test(
    "frames flow from a process to the interface, and from the interface to a process, in order")
  func flow() throws {
    try withSwitch { fixture, pair in
      let out = try fixture.peer(["flow-receive", "netmap:\(pair.second)/R", "20000"])
      let sender = try fixture.peer(["flow-send", "vale0:s", "1", "0", "100"])
      #expect(rest(of: out).hasPrefix("received 20000 of [1]"))
      _ = out.wait()
      sender.kill(SIGKILL)
      let listener = try fixture.peer(["flow-receive", "vale0:r", "20000"])
      let source = try fixture.peer(["flow-send", "netmap:\(pair.second)/T", "2", "0", "100"])
      #expect(rest(of: listener).hasPrefix("received 20000 of ["))
      _ = listener.wait()
      source.kill(SIGKILL)
      try fixture.expectSound("after the flow")
    }
  }

  @Test("packets pass between a switch and both queues of an interface, both ways")
  func twoQueues() throws {
    try withSwitch(queues: 2) { fixture, pair in
      #expect(
        try Self.run(fixture, "-g vale0:v0").text.contains("tx_rings:   2\nrx_rings    2\n"))
      let engine = try fixture.engine()
      let receivers = try (0..<2).map {
        try NetmapPort("netmap:\(pair.second)-\($0)/R", engine: engine)
      }
      let port = try NetmapPort("vale0:p@conf:rings=2", engine: engine)
      // Use known addresses behind the interface: broadcasts would go to ring 0 of every port.
      for ring in 0..<2 {
        let station = try NetmapPort("netmap:\(pair.second)-\(ring)/T", engine: engine)
        try send(frame(UInt8(ring), from: 9), on: station)
        #expect(try DaemonInterfaceTests.receive(port, 1) == [frame(UInt8(ring), from: 9)])
      }
      for number in 0..<50 as Range<UInt8> {
        for index in 0..<2 {
          var ring = port.transmitRing(index)
          let frame = frame(number + 100 * UInt8(index), to: 9)
          #expect(unsafe ring.append(frame.span.bytes))
        }
        try port.sync(.transmit)
      }
      for (index, receiver) in receivers.enumerated() {
        #expect(
          try DaemonInterfaceTests.receive(receiver, 50)
            == (0..<50).map { frame($0 + 100 * UInt8(index), to: 9) })
      }
      try fixture.expectSound("two queues")
    }
  }

  @Test("list, information, counters, and detaching, which restores the interface")
  func tools() throws {
    try withSwitch { fixture, pair in
      let engine = try fixture.engine()
      let port = try NetmapPort("vale0:a", engine: engine)
      #expect(
        try Self.run(fixture, "").text
          == "vale0:v0 bridge_idx 0 port_idx 0\nvale0:a bridge_idx 0 port_idx 1\n")
      #expect(try Self.run(fixture, "-l vale0:v0").text == "bridge_idx: 0\nport_idx:   0\n")
      #expect(try Self.run(fixture, "--json -l vale0:v0").text.contains("\"port_idx\":0"))
      let shown = try Self.run(fixture, "-g vale0:v0").text
      #expect(shown.contains("tx_slots:   1024") && !shown.contains("mem_id:     1\n"))
      for number in 0..<10 as Range<UInt8> { try send(frame(number), on: port) }
      let far = try NetmapPort("netmap:\(pair.second)", engine: engine)
      for number in 0..<5 as Range<UInt8> { try send(frame(number, from: 3), on: far) }
      #expect(try DaemonInterfaceTests.receive(port, 5).count == 5)
      var line = ""
      for _ in 0..<200 where !line.contains("rx_packets 10 ") {
        usleep(5000)
        line = try Self.run(fixture, "--counters").text
      }
      #expect(
        line.hasPrefix(
          "vale0:v0 bridge_idx 0 port_idx 0 tx_packets 5 tx_bytes 300 tx_drops 0"
            + " rx_packets 10 rx_bytes 600 rx_drops 0 "), "\(line)")
      #expect(try Self.run(fixture, "--json --counters").text.contains("\"rx_packets\":10"))
      let listing = try engine.listing()
      #expect(listing.map(\.name) == ["v0", "v1", "vale0:a", "vale0:v0"])
      #expect(listing[0].backend == "xdp copy, on vale0:v0" && listing[0].processes.isEmpty)
      #expect(listing[0].transmit.packets == 10 && listing[0].receive.packets == 5)
      #expect(listing[3].backend == "interface")
      #expect(!isNormal("v0"))
      #expect(try Self.run(fixture, "-v -d vale0:v0") == (0, "port_index: 0\n"))
      #expect(isNormal("v0"))
      #expect(try Self.run(fixture, "-d vale0:v0").status == 1)
      #expect(try Self.run(fixture, "").text == "vale0:a bridge_idx 0 port_idx 1\n")
      try NetmapPort("netmap:v0", engine: engine).close()
      try fixture.expectSound("after detaching")
    }
  }

  @Test(
    "refusals: EBUSY if open or attached, unknown names and memory")
  func refusals() throws {
    try withSwitch { fixture, pair in
      func expect(_ line: String, _ reason: String) throws {
        let (status, text) = try Self.run(fixture, line)
        #expect(status == 1 && text.contains(reason), "\(line): \(text)")
      }
      let engine = try fixture.engine()
      for name in [
        "netmap:v0", "vale0:v0", "netmap:v0{1", "vale0:v0{1", "netmap:v0/R", "vale0:v0/i",
      ] {
        let error = #expect(throws: NetmapError.self) { try NetmapPort(name, engine: engine) }
        #expect(error?.code == .busy, "\(name): \(String(describing: error))")
      }
      try expect("-a vale0:v0", "Device or resource busy")
      try expect("-a vale1:v0", "v0 is already on a switch, as vale0:v0")
      try expect("-r v0", "Invalid argument")
      try expect("-n v0", "File exists")
      let open = try NetmapPort("netmap:\(pair.second)-0/T", engine: engine)
      try expect("-a vale0:v1", "programs have v1 open")
      open.close()
      try expect("-a vale0:nosuch", "there is no interface nosuch")
      try expect("-a vale0:v1 -m 77", "there is no memory region 77")
      try expect("-d vale1:v0", "No such device")
      #expect(try Self.run(fixture, "-a vale0:v1 -m 1").status == 0)
      #expect(try Self.run(fixture, "-g vale0:v1").text.hasSuffix("mem_id:     1\n"))
      #expect(try Self.run(fixture, "-d vale0:v1").status == 0)
      try fixture.expectSound("after refusals")
    }
  }

  @Test("a persistent port, an interface and programs on one switch, with upstream's statuses")
  func sequence() throws {
    try withSwitch { (fixture, _) throws in
      func status(_ line: String) throws -> CInt { try Self.run(fixture, line).status }
      #expect(try status("-n p0") == 0)
      #expect(try status("-a vale0:p0") == 0)
      #expect(try status("-a vale0:v1") == 0)
      #expect(try status("-a vale1:p0") == 0)
      #expect(try status("-a vale1:v1") == 1)
      #expect(try status("-d vale1:p0") == 0)
      #expect(try status("-d vale0:v1") == 0)
      #expect(try status("-a vale1:v1") == 0)
      #expect(
        try Self.run(fixture, "").text.split(separator: "\n").map { $0.prefix { $0 != " " } }
          == ["vale0:v0", "vale0:p0", "vale1:v1"])
      #expect(try status("-d vale0:v0") == 0)
      #expect(try status("-d vale0:p0") == 0)
      #expect(try status("-r p0") == 0)
      #expect(try status("-d vale1:v1") == 0)
      #expect(try Self.run(fixture, "").text == "")
    }
  }

  @Test("50 times attached and detached: other ports lose no frames, and nothing is left behind")
  func again() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture()
      let pair = try VethPair()
      let engine = try fixture.engine()
      let (a, b) = try (
        NetmapPort("vale0:a", engine: engine), NetmapPort("vale0:b", engine: fixture.engine())
      )
      try send(frame(0, to: 0xff, from: 2), on: b)
      #expect(try DaemonInterfaceTests.receive(a, 1).count == 1)
      // Another process sends to a station behind the interface all the time.
      #expect(try Self.run(fixture, "-a vale0:v0").status == 0)
      let station = try FrameSocket(pair.second)
      let hello = [UInt8](repeating: 0xff, count: 6) + [2, 0, 0, 0, 0, 0] + frame(0).dropFirst(12)
      let isSent = station.send(hello)
      #expect(isSent)
      #expect(try DaemonInterfaceTests.receive(b, 1).count == 1)
      #expect(try DaemonInterfaceTests.receive(a, 1).count == 1)
      let noise = try TestProgram(
        [
          TestProgram.built("pkt-gen"), "-i", "vale0:noise", "-f", "tx", "-R", "200000", "-b", "32",
          "-S", "02:08:08:08:08:08", "-D", "02:00:00:00:00:00",
        ], environment: ["NETMAP_SOCKET": fixture.socket])
      defer { noise.kill(SIGKILL) }
      let end = ContinuousClock.now + .seconds(10)
      while try !engine.listing().contains(where: { $0.name == "vale0:noise" }),
        ContinuousClock.now < end
      { usleep(1000) }
      noise.drain()
      #expect(try Self.run(fixture, "-d vale0:v0").status == 0)
      // Once more: the worker then receives the sender's doorbell, a descriptor that it keeps.
      #expect(try Self.run(fixture, "-a vale0:v0").status == 0)
      #expect(try Self.run(fixture, "-d vale0:v0").status == 0)
      let descriptors = try fixture.daemonDescriptors()
      for round in 0..<50 {
        let attaching = try TestProgram(
          [TestProgram.built("vale-ctl"), "-a", "vale0:v0"],
          environment: ["NETMAP_SOCKET": fixture.socket])
        for number in 0..<50 as Range<UInt8> {
          try send(frame(number, to: 2, from: 1), on: a)
          #expect(
            try DaemonInterfaceTests.receive(b, 1) == [frame(number, to: 2, from: 1)],
            "round \(round)")
        }
        #expect(attaching.finish().status == 0)
        let detached = try Self.run(fixture, "-d vale0:v0")
        try #require(detached.status == 0, "round \(round): \(detached.text)")
        #expect(isNormal(pair.first), "round \(round)")
      }
      // The daemon may not have noticed the end of the last vale-ctl yet.
      for _ in 0..<100 where try fixture.daemonDescriptors() > descriptors { usleep(20_000) }
      #expect(
        try fixture.daemonDescriptors() <= descriptors,
        "\(descriptors) before: \(fixture.describeDescriptors())")
      #expect(b.statistics.receive.drops.total == 0)
      try fixture.expectSound("after 50 rounds")
    }
  }

  @Test("the daemon killed: the interface is normal, and processes on the switch go on")
  func daemonKilled() throws {
    try withSwitch { fixture, pair in
      let engine = try fixture.engine()
      let (a, b) = try (
        NetmapPort("vale0:a", engine: engine), NetmapPort("vale0:b", engine: fixture.engine())
      )
      try send(frame(1), on: a)
      #expect(try DaemonInterfaceTests.receive(b, 1).count == 1)
      fixture.endDaemon(SIGKILL)
      #expect(isNormal(pair.first))
      for number in 0..<100 as Range<UInt8> {
        try send(frame(number), on: a)
        #expect(try DaemonInterfaceTests.receive(b, 1) == [frame(number)])
      }
      try fixture.start()
      #expect(try Self.run(fixture, "-a vale0:v0").status == 0)
    }
  }

  @Test("an attached interface is removed: its port leaves the switch, and the other ports go on")
  func removed() throws {
    try withSwitch { fixture, pair in
      let engine = try fixture.engine()
      let (a, b) = try (
        NetmapPort("vale0:a", engine: engine), NetmapPort("vale0:b", engine: fixture.engine())
      )
      try send(frame(1), on: a)
      #expect(try DaemonInterfaceTests.receive(b, 1).count == 1)
      try NetworkNamespace.run("ip", "link", "delete", pair.first)
      var text = "v0"
      for _ in 0..<200 where text.contains("v0") {
        usleep(5000)
        text = try Self.run(fixture, "").text
      }
      #expect(text == "vale0:a bridge_idx 0 port_idx 1\nvale0:b bridge_idx 0 port_idx 2\n")
      try send(frame(2), on: a)
      #expect(try DaemonInterfaceTests.receive(b, 1) == [frame(2)])
      #expect(try Self.run(fixture, "-d vale0:v0").text.contains("No such device"))
      _ = try VethPair()
      #expect(try Self.run(fixture, "-a vale0:v0").status == 0)
      try fixture.expectSound("after the removal")
    }
  }

  @Test("an attached interface is down: packets wait, and are sent when it is up again")
  func down() throws {
    try withSwitch { fixture, pair in
      let engine = try fixture.engine()
      let (port, far) = try (
        NetmapPort("vale0:a", engine: engine), NetmapPort("netmap:\(pair.second)", engine: engine)
      )
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      for number in 0..<20 as Range<UInt8> { try send(frame(number), on: port) }
      #expect(try far.wait(for: .receive, timeout: .milliseconds(50)).isEmpty)
      try NetworkNamespace.setUp(pair.first, pair.second)
      #expect(try DaemonInterfaceTests.receive(far, 20) == (0..<20).map { frame($0) })
      try NetworkNamespace.run("ip", "link", "set", pair.first, "down")
      #expect(try Self.run(fixture, "-d vale0:v0").status == 0)
      #expect(isNormal(pair.first))
      try fixture.expectSound("down")
    }
  }

  @Test(
    "a daemon started on demand runs while an interface is attached, and exits after that")
  func idle() throws {
    try NetworkNamespace.run {
      let fixture = try DaemonFixture(starts: false)
      _ = try VethPair()
      // Long enough for vale-ctl to start on a busy machine.
      try fixture.start(["--idle-exit", "3"])
      #expect(try Self.run(fixture, "-a vale0:v0").status == 0)
      let processes = try [#require(fixture.daemon?.process), #require(fixture.serving)]
      usleep(2_500_000)
      try expectRest(of: processes, wakingUp: 11)
      #expect(unsafe access(fixture.socket, F_OK) == 0)
      #expect(try Self.run(fixture, "").text == "vale0:v0 bridge_idx 0 port_idx 0\n")
      #expect(try Self.run(fixture, "-d vale0:v0").status == 0)
      fixture.waitUntilGone(within: .seconds(30))
    }
  }
}
