import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// Host rings: the host's packets come to the application, and the application's go to the host.
@Suite(.serialized) struct HostRingTests {
  /// The frames of an experimental type that arrive in a receive ring, until there are `count` or none arrives for a
  /// second.
  private func receive(_ count: Int, from port: NetmapPort, ring: Int) throws -> [[UInt8]] {
    var frames: [[UInt8]] = []
    var partial: [UInt8] = []
    while frames.count < count {
      guard try port.wait(for: .receive, timeout: .seconds(1)) == .receive else { break }
      for index in 0..<port.receiveRingCount {
        var input = port.receiveRing(index)
        while let slot = input.nextSlot() {
          guard index == ring else { continue }
          partial += [UInt8](slot)
          guard slot.isComplete else { continue }
          if partial.count > 18,
            partial[12..<14] == [0x88, 0xb5] || partial[16..<18] == [0x88, 0xb5]
          {
            frames.append(partial)
          }
          partial = []
        }
      }
    }
    return frames
  }

  private func send(_ frames: [[UInt8]], to port: NetmapPort, ring: Int) throws {
    for frame in frames {
      var output = port.transmitRing(ring)
      let limit = port.bufferSize - 256
      for start in stride(from: 0, to: frame.count, by: limit) {
        let end = min(start + limit, frame.count)
        let part = [UInt8](frame[start..<end])
        #expect(
          unsafe output.append(part.span.bytes, flags: end < frame.count ? .moreFragments : []))
      }
    }
    try port.sync(.transmit)
  }

  @Test("every selection holds the rings that netmap gives it", arguments: HostFixture.choices)
  func selections(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture(queues: 2)
      defer { withExtendedLifetime(fixture) {} }
      let engine = try EmbeddedEngine()
      let backend = "@backend:name=\(choice)"
      for (name, transmit, receive) in [
        ("netmap:near^", 1, 1), ("netmap:near*", 3, 3), ("netmap:near^0", 1, 1),
        ("netmap:near", 2, 2), ("netmap:near^/R", 0, 1), ("netmap:near*/T", 3, 0),
      ] {
        let port = try NetmapPort(name + backend, engine: engine)
        #expect(port.transmitRingCount == transmit, "\(name)")
        #expect(port.receiveRingCount == receive, "\(name)")
      }
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:near^1\(backend)", engine: engine)
      }
      #expect(error?.code == .invalidArgument)
      // Host rings are created with the port.
      let three = try NetmapPort("netmap:near^\(backend)@conf:host-rings=3", engine: engine)
      #expect(three.receiveRingCount == 3)
      #expect(try NetmapPort("netmap:near^2\(backend)", engine: engine).receiveRingCount == 1)
      #expect(try NetmapPort("netmap:near*\(backend)", engine: engine).receiveRingCount == 5)
    }
  }

  @Test(
    "what the host sends arrives in the host ring and not on the wire",
    arguments: HostFixture.choices)
  func fromHost(choice: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let engine = try EmbeddedEngine()
      let wire = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: engine)
      let host = try FrameSocket("near")
      let frames = (0..<50).map { numberedFrame($0, length: 60 + $0 * 29) }
      for frame in frames { host.send(frame) }
      #expect(try receive(50, from: port, ring: 1) == frames)
      #expect(try wire.wait(for: .receive, timeout: .zero).isEmpty)
      // The application's own packets do go to the wire.
      try send([frames[3]], to: port, ring: 0)
      #expect(try wire.receive(1) == [frames[3]])
      port.close()
      host.send(frames[4])
      #expect(try wire.receive(1) == [frames[4]])
    }
  }

  @Test("without a transmit ring of the interface, the host's packets go to the wire as before")
  func hostRingsAlone() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let engine = try EmbeddedEngine()
      let wire = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      let rings = try NetmapPort("netmap:near^", engine: engine)
      let host = try FrameSocket("near")
      let frames = (0..<3).map { numberedFrame($0, length: 80) }
      host.send(frames[0])
      #expect(try wire.receive(1) == [frames[0]])
      let port = try NetmapPort("netmap:near@backend:name=xdp", engine: engine)
      host.send(frames[1])
      #expect(try receive(1, from: rings, ring: 0) == [frames[1]])
      port.close()
      host.send(frames[2])
      #expect(try wire.receive(1) == [frames[2]])
    }
  }

  @Test(
    "what the application sends to a host ring, the host receives", arguments: HostFixture.choices)
  func toHost(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      defer { withExtendedLifetime(fixture) {} }
      let socket = try UDPSocket(port: 9000)
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: EmbeddedEngine())
      let ring = port.transmitRingCount - 1
      for _ in 0..<20 { try send([datagramToHost(port: 9000)], to: port, ring: ring) }
      var heard = 0
      while heard < 20, socket.waits(milliseconds: 1000) { heard += socket.drain() }
      #expect(heard == 20)
      // Nothing of it comes back as a packet from the wire.
      #expect(try receive(1, from: port, ring: 0).isEmpty)
      let isEmpty = port.receiveRing(0).isEmpty
      #expect(isEmpty)
      // Too short for a frame, and a whole ring: the ring goes on.
      try send([[1, 2, 3]], to: port, ring: ring)
      try send([datagramToHost(port: 9000, length: 1200)], to: port, ring: ring)
      let hears = socket.waits(milliseconds: 1000)
      #expect(hears)
    }
  }

  @Test("tagged frames keep their VLAN tag in both directions", arguments: HostFixture.choices)
  func vlan(choice: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: EmbeddedEngine())
      let host = try FrameSocket("near")
      let there = try FrameSocket(pair.second)
      let frames = (0..<20).map { numberedFrame($0, length: 100, vlan: UInt16(1 + $0)) }
      for frame in frames { host.send(frame) }
      #expect(try receive(20, from: port, ring: 1) == frames)
      for frame in frames { there.send(frame) }
      #expect(try receive(20, from: port, ring: 0) == frames)
    }
  }

  @Test("generic XDP and host rings exclude each other, and the choice goes past it")
  func generic() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let engine = try EmbeddedEngine()
      let error = #expect(throws: NetmapError.self) {
        try NetmapPort("netmap:near*@backend:name=xdp,mode=generic", engine: engine)
      }
      #expect(error?.code == .unsupported)
      #expect(error?.description.contains("packets sent to the host") == true)
      let port = try NetmapPort("netmap:near@backend:name=xdp,mode=generic", engine: engine)
      #expect(throws: NetmapError.self) { try NetmapPort("netmap:near^", engine: engine) }
      port.close()
      // A bridge has no native XDP.
      try NetworkNamespace.run("ip", "link", "add", "bridge", "type", "bridge")
      try NetworkNamespace.run("ip", "link", "set", pair.second, "master", "bridge")
      try NetworkNamespace.run("ip", "link", "set", "bridge", "up")
      #expect(try NetmapPort("netmap:bridge*", engine: engine).backend?.name == "packet")
    }
  }

  @Test("opening and closing leaves no interface and no program", arguments: HostFixture.choices)
  func leavesNothing(choice: String) throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far")
      let clean = InterfaceState("near")
      let engine = try EmbeddedEngine()
      let times = Int(environmentNumber("NETMAP_TEST_OPENS") ?? 20)
      for round in 0..<times {
        let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: engine)
        if round == 0 {
          #expect(InterfaceState("near").interfaces.count == clean.interfaces.count + 1)
        }
        port.close()
        #expect(InterfaceState("near") == clean)
      }
    }
  }

  @Test(
    "a process that is killed leaves nothing behind, and the host's traffic goes on",
    arguments: HostFixture.choices)
  func killed(choice: String) throws {
    try NetworkNamespace.run {
      let fixture = try HostFixture()
      let clean = InterfaceState("near")
      for _ in 0..<5 {
        let holder = try fixture.start(["hold", "netmap:near*@backend:name=\(choice)"])
        #expect(InterfaceState("near") != clean)
        holder.kill(SIGKILL)
        let end = ContinuousClock.now + .seconds(10)
        while InterfaceState("near") != clean, ContinuousClock.now < end { usleep(500) }
        #expect(InterfaceState("near") == clean)
        #expect(try EchoSocket().ping((10, 0, 0, 2), number: 1))
      }
    }
  }
}
