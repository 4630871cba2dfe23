import Glibc
import Netmap
import NetmapCore
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// Frames that the sender on a veth leaves to its peer, and that the XDP program completes.
@Suite(.serialized, .timeLimit(.minutes(15))) struct FinishedFramesTests {
  private static let addresses = ["10.0.0.1", "fd00::1"]
  private static let targets = ["10.0.0.1": "10.0.0.2", "fd00::1": "fd00::2"]

  /// Runs `body` with a host on `far`, with every offload of a new veth, and a port on its peer `near`.
  private func withHost(
    mtu: Int = 1500, queues: Int = 1, port name: String = "netmap:near",
    _ body: (NetmapPort) throws -> Void
  ) throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far", queues: queues, mtu: mtu)
      for command in [
        ["ethtool", "-K", "far", "tx", "on", "tso", "on", "gso", "on", "txvlan", "on"],
        ["ip", "address", "add", "10.0.0.1/24", "dev", "far"],
        ["ip", "address", "add", "fd00::1/64", "dev", "far", "nodad"],
      ] { _ = try TestProgram.output(of: command) }
      let port = try NetmapPort(name, engine: EmbeddedEngine())
      #expect(port.backend?.name == "xdp" && port.backend?.mode == "copy")
      try body(port)
    }
  }

  /// Sends payloads by UDP, and takes the frames with them from the port.
  private func exchange(
    _ payloads: [[UInt8]], from address: String, _ port: NetmapPort
  ) throws -> [WireFrame] {
    let socket = try HostSocket(.udp, on: nil, address, port: 9000)
    try socket.connect(try #require(Self.targets[address]), port: 9001)
    var frames: [WireFrame] = []
    for payload in payloads {
      try socket.send(payload)
      // The host may send other packets, such as router solicitations.
      let count = frames.count
      while frames.count == count {
        let more = try port.receive(1)
        try #require(!more.isEmpty, "a datagram of \(payload.count) bytes did not arrive")
        frames += more.compactMap { WireFrame($0) }
      }
    }
    return frames
  }

  @Test("checksums over payloads of every kind of length are completed", arguments: addresses)
  func lengths(address: String) throws {
    try withHost { port in
      var generator = SeededGenerator(seed: 78)
      let largest = address.contains(":") ? 1452 : 1472
      // Whole pieces of 256 bytes from the transport header on, one less and one more; then any length.
      let edges = [0, 1, 2, 3, 246, 247, 248, 249, 503, 504, 505, 1015, 1016, 1017]
      let lengths =
        edges + (0..<200).map { _ in Int.random(in: 0...largest, using: &generator) } + [largest]
      let payloads = lengths.map { length in
        (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
      }
      let frames = try exchange(payloads, from: address, port)
      #expect(frames.map(\.payload) == payloads)
      #expect(frames.allSatisfy { $0.isRight && $0.tags.isEmpty })
      let counted = port.statistics.receive
      #expect(counted.repairs.checksums >= UInt64(payloads.count))
      #expect(counted.repairs.tags == 0 && counted.repairs.superPackets == 0)
      #expect(counted.drops.total == 0)
      #expect(port.statistics.transmit.repairs.total == 0)
    }
  }

  @Test(
    "a checksum that comes out as 0 is sent as 0xffff, since 0 means none", arguments: addresses)
  func zero(address: String) throws {
    try withHost { port in
      let base = try #require(try exchange([[0, 0]], from: address, port).first)
      #expect(base.isRight)
      // With this word in place of 0, the sum of all words is 0xffff.
      let word = [UInt8(base.checksum >> 8), UInt8(base.checksum & 255)]
      let frame = try #require(try exchange([word], from: address, port).first)
      #expect(frame.payload == word && frame.isRight)
      #expect(frame.checksum == 0xffff)
    }
  }

  @Test("a frame of several buffers has its checksum completed", arguments: addresses)
  func severalBuffers(address: String) throws {
    try withHost(mtu: 9000) { port in
      let payloads = [8000, 8952, 1793, 3584, 5001].map { length in
        (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ length) }
      }
      let frames = try exchange(payloads, from: address, port)
      #expect(frames.map(\.payload) == payloads)
      #expect(frames.allSatisfy { $0.isRight })
    }
  }

  @Test("VLAN tags are put back, with their type and priority", arguments: addresses)
  func tags(address: String) throws {
    try withHost { port in
      for (type, control) in [(0x8100, 0x0005), (0x8100, 0xefff), (0x88a8, 0x6001)] {
        let tagging = try VLANTagging("far", type: UInt16(type), control: UInt16(control))
        let payloads = [0, 1, 300, 1400].map { [UInt8](repeating: UInt8(type & 255), count: $0) }
        let frames = try exchange(payloads, from: address, port)
        #expect(frames.map(\.payload) == payloads)
        #expect(frames.allSatisfy { $0.isRight })
        #expect(frames.allSatisfy { $0.tags == [[UInt16(type), UInt16(control)]] })
        withExtendedLifetime(tagging) {}
      }
      #expect(port.statistics.receive.repairs.tags >= 12)
      #expect(port.statistics.receive.drops.total == 0)
    }
  }

  @Test("a second tag goes before the one that is in the frame already")
  func twoTags() throws {
    try withHost { port in
      let inner = try VLANTagging("far", type: 0x8100, control: 7)
      let outer = try VLANTagging("far", type: 0x88a8, control: 9)
      let frames = try exchange([[1, 2, 3]], from: "10.0.0.1", port)
      #expect(frames.map(\.tags) == [[[0x88a8, 9], [0x8100, 7]]])
      #expect(frames.allSatisfy { $0.isRight })
      withExtendedLifetime((inner, outer)) {}
    }
  }

  @Test("wherever a sender asks for a checksum, it gets it, or the frame is dropped and counted")
  func anywhere() throws {
    try withHost { port in
      let socket = try OffloadedFrameSocket("far")
      var generator = SeededGenerator(seed: 7)
      var (finished, refused, sent) = (0, 0, 0)
      for round in 0..<400 {
        let length = Int.random(in: 14...1514, using: &generator)
        // 0x88b5 is IEEE 802's type for experiments.
        let frame =
          [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]
          + (14..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let start = UInt16.random(in: 0...UInt16(length + 8), using: &generator)
        let field =
          round % 8 == 0
          ? UInt16.random(in: 0...UInt16.max, using: &generator)
          : UInt16.random(in: 0...UInt16(length), using: &generator)
        let place = Int(start) + Int(field)
        guard socket.send(frame, start: start, field: field) else {
          refused += 1
          continue
        }
        sent += 1
        // The kernel itself drops some frames on the way; each frame that is not whole must be counted.
        guard Int(start) < length, place + 2 <= length else { continue }
        var expected = frame
        let sum = ~SampleFrames.checksum(Array(frame[Int(start)...]))
        let value = sum == 0 ? 0xffff : sum
        expected[place] = UInt8(value >> 8)
        expected[place + 1] = UInt8(value & 255)
        var arrived: [[UInt8]] = []
        while arrived.isEmpty {
          let more = try port.receive(1)
          try #require(!more.isEmpty, "\(length) bytes, from \(start), at \(place)")
          arrived += more.filter { $0[12] == 0x88 && $0[13] == 0xb5 }
        }
        #expect(arrived == [expected], "\(length) bytes, from \(start), at \(place)")
        finished += 1
      }
      try port.sync(.receive)
      let counted = port.statistics.receive
      print("anywhere: \(finished) completed, \(refused) refused by the kernel, \(counted.drops)")
      #expect(finished > 50)
      #expect(counted.repairs.checksums >= UInt64(finished))
      #expect(counted.drops[.unfinished] == UInt64(sent - finished))
    }
  }

  @Test("frames of a queue that no port has go to the host as they came")
  func otherQueue() throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far", queues: 2)
      let host = try OtherHost()
      for command in [
        ["ethtool", "-K", "far", "tx", "on", "txvlan", "on"],
        ["ip", "link", "set", "near", "address", "02:00:00:00:00:02", "arp", "on"],
        ["ip", "link", "set", "far", "arp", "on"],
        ["ip", "address", "add", "10.0.0.2/24", "dev", "near"],
      ] { _ = try TestProgram.output(of: command) }
      try host.take("far", "10.0.0.1/24")
      try host.run(
        "ip", "neighbor", "add", "10.0.0.2", "lladdr", "02:00:00:00:00:02", "dev", "far", "nud",
        "permanent")
      try NetworkNamespace.setUp("near")
      let port = try NetmapPort("netmap:near-0", engine: EmbeddedEngine())
      let receiver = try UDPSocket(port: 9001)
      // The kernel picks one of the two queues for each source port.
      let count = 64
      for number in 0..<count {
        let socket = try HostSocket(.udp, on: host, "10.0.0.1", port: UInt16(20_000 + number))
        try socket.connect("10.0.0.2", port: 9001)
        try socket.send([UInt8(number)])
      }
      var (heard, taken) = (0, 0)
      for _ in 0..<500 where heard + taken < count {
        usleep(10_000)
        heard += receiver.drain()
        taken += port.takePackets().count { WireFrame($0)?.isRight == true }
        try port.sync(.receive)
      }
      #expect(heard + taken == count && heard > 0 && taken > 0, "\(heard) and \(taken)")
      #expect(port.statistics.receive.repairs.checksums == UInt64(taken))
    }
  }

  @Test("a port that is opened again counts from its own beginning")
  func reopened() throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far")
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "on")
      try NetworkNamespace.run("ip", "address", "add", "10.0.0.1/24", "dev", "far")
      let engine = try EmbeddedEngine()
      for _ in 0..<5 {
        let port = try NetmapPort("netmap:near", engine: engine)
        _ = try exchange([[1], [2]], from: "10.0.0.1", port)
        #expect(port.statistics.receive.repairs.checksums == 2)
        port.close()
      }
    }
  }

  @Test("the peer's settings are as before while a port is open, and after it")
  func settings() throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far")
      _ = try TestProgram.output(of: ["ethtool", "-K", "far", "tx", "on", "txvlan", "on"])
      let watched = ["tx-checksumming", "tx-vlan-offload", "rx-vlan-offload"]
      func features() throws -> [String] {
        try ["near", "far"].flatMap { name in
          try NetworkNamespace.run("ethtool", "-k", name).split(separator: "\n").map(String.init)
        }
      }
      let before = try features()
      let port = try NetmapPort("netmap:near", engine: EmbeddedEngine())
      let during = try features()
      #expect(
        during.filter { line in watched.contains { line.contains($0) } }
          == before.filter { line in watched.contains { line.contains($0) } })
      port.close()
      #expect(try features() == before)
    }
  }
}
