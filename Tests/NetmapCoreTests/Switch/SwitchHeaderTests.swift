import NetmapCore
import NetmapTestSupport
import Testing

@Suite("VALE: virtio-net headers")
struct SwitchHeaderTests {
  private let engine: Engine
  private let a: TestPort
  private let b: TestPort

  init() throws {
    engine = try Engine()
    a = try TestPort(engine, "vale0:a", flags: [.acceptVirtioNetHeader])
    b = try TestPort(engine, "vale0:b", flags: [.acceptVirtioNetHeader])
  }

  private func set(_ name: String, _ length: Int) throws {
    _ = try engine.answer(.setHeader(try PortName(name), length: length))
  }
  private func get(_ name: String) throws -> Int {
    try engine.answer(.header(try PortName(name))).headerLength
  }
  private func code(_ body: () throws -> Void) -> NetmapError.Code? {
    (#expect(throws: NetmapError.self) { try body() })?.code
  }

  /// Sends a packet from a in slots of the given sizes, and returns the packets that arrive at b.
  private func pass(_ bytes: [UInt8], in sizes: [Int]? = nil) -> [[UInt8]] {
    a.tx().putPacket(bytes, in: sizes)
    a.tx().sync()
    return b.rx().takePackets()
  }

  private let frame = TestFrame(target: .broadcast, source: .station(1), number: 7, length: 200)

  // MARK: - Requests

  @Test("PORT_HDR_SET and _GET: lengths, and the errnos of refusals")
  func requests() throws {
    #expect(try get("vale0:a") == 0)
    for length in [12, 0, 10] {
      try set("vale0:a", length)
      #expect(try get("vale0:a") == length)
    }
    for length in [1, 9, 11, 13, -1, 1 << 20] {
      #expect(code { try set("vale0:a", length) } == .invalidArgument)
    }
    #expect(code { try set("vale0:nobody", 12) } == .noSuchDevice)
    #expect(code { try set("eth7", 12) } == .noSuchDevice)
    #expect(code { _ = try get("vale0:nobody") } == .noSuchDevice)
    #expect(code { _ = try get("p{1") } == .notFound)
    let pipe = try TestPort(engine, "p{1")
    #expect(try get("p{1") == 0)
    #expect(code { try set("p{1", 12) } == .noSuchDevice)
    _ = pipe
  }

  @Test("a client that does not accept headers cannot open a port that has them: EIO")
  func accepting() throws {
    try set("vale0:a", 12)
    #expect(code { _ = try TestPort(engine, "vale0:a") } == .inputOutput)
    _ = try TestPort(engine, "vale0:a", flags: [.acceptVirtioNetHeader])
    // Pipes of the port have no header.
    _ = try TestPort(engine, "vale0:a{1")
    try set("vale0:a", 0)
    _ = try TestPort(engine, "vale0:a")
  }

  @Test("a persistent port keeps its header while it is not open")
  func persistent() throws {
    _ = try engine.answer(.create(RegisterRequest(name: try PortName("v0"))))
    _ = try engine.answer(.attach(RegisterRequest(name: try PortName("vale0:v0"))))
    try set("vale0:v0", 12)
    let port = try TestPort(engine, "v0", flags: [.acceptVirtioNetHeader])
    a.tx().send(frame)
    #expect(port.rx().takePackets() == [[UInt8](repeating: 0, count: 12) + frame.bytes])
  }

  // MARK: - Lookup and copying

  @Test(
    "the lookup skips the header, in the frame's slot or in a slot of its own", arguments: [10, 12])
  func lookup(length: Int) throws {
    let c = try TestPort(engine, "vale0:c", flags: [.acceptVirtioNetHeader])
    for name in ["vale0:a", "vale0:b", "vale0:c"] { try set(name, length) }
    let header = [UInt8](repeating: 0, count: length)
    func announce(_ port: TestPort, _ station: UInt8) {
      let hello = TestFrame(target: .broadcast, source: .station(station), number: 0)
      port.tx().putPacket(header + hello.bytes)
      port.tx().sync()
    }
    announce(b, 2)
    announce(c, 3)
    for port in [a, b, c] { _ = port.rx().takePackets() }
    let bytes = header + TestFrame(target: .station(2), source: .station(1), number: 1).bytes
    #expect(pass(bytes) == [bytes])
    #expect(pass(bytes, in: [length, 60]) == [bytes])
    #expect(c.rx().isSilent)
    // An incomplete Ethernet header, no second slot, or an incomplete virtio-net header.
    #expect(pass(Array(bytes.prefix(length + 13))) == [])
    #expect(pass(header) == [])
    #expect(pass(Array(bytes.prefix(length + 13)), in: [length, 13]) == [])
    #expect(pass(bytes, in: [length - 1, 61]) == [])
    #expect(a.tx().counters.drops[.tooShort] == 4)
  }

  @Test("headers of equal length are copied verbatim, whatever they contain", arguments: [10, 12])
  func verbatim(length: Int) throws {
    try set("vale0:a", length)
    try set("vale0:b", length)
    let nonsense = (0..<length).map { UInt8(200 + $0) }
    #expect(pass(nonsense + frame.bytes) == [nonsense + frame.bytes])
    b.rx().sync()
    #expect(pass(nonsense + frame.bytes, in: [length, 100, 100]) == [nonsense + frame.bytes])
  }

  @Test(
    "headers of different length: zeros, a partial copy, or no header",
    arguments: [(0, 10), (0, 12), (10, 12), (12, 10), (10, 0), (12, 0)])
  func mismatch(source: Int, target: Int) throws {
    try set("vale0:a", source)
    try set("vale0:b", target)
    // A valid header without requests.
    let header = Array([2, 0, 9, 9, 9, 9, 9, 9, 9, 9, 7, 7].prefix(source)) as [UInt8]
    let expected =
      source == 0
      ? [UInt8](repeating: 0, count: target)
      : Array((header.prefix(10) + [0, 0]).prefix(target))
    for sizes in [nil, [source + 100, 60, 40], source == 0 ? nil : [source, 150, 50]] {
      #expect(pass(header + frame.bytes, in: sizes) == [expected + frame.bytes])
    }
    #expect(a.tx().counters.drops.total == 0 && b.rx().counters.drops.total == 0)
    #expect(b.rx().counters.packets == 3)
    #expect(b.rx().counters.bytes == UInt64(3 * (target + 200)))
  }

  @Test("a header that does not fit the first buffer gets a slot of its own")
  func headerApart() throws {
    try set("vale0:b", 12)
    let long = TestFrame(target: .broadcast, source: .station(1), number: 1, length: 2048)
    #expect(pass(long.bytes) == [[UInt8](repeating: 0, count: 12) + long.bytes])
    let fragments = TestFrame(target: .broadcast, source: .station(1), number: 1, length: 4000)
    #expect(
      pass(fragments.bytes, in: [2048, 1952])
        == [[UInt8](repeating: 0, count: 12) + fragments.bytes])
  }

  // MARK: - Stripping

  @Test(
    "checksums are completed, however the packet is divided into slots",
    arguments: [true, false], [true, false])
  func checksum(isIPv4: Bool, isTCP: Bool) throws {
    try set("vale0:a", 12)
    var packet = TransportFrame(isIPv4: isIPv4, isTCP: isTCP)
    packet.payload = (0..<501).map { UInt8(truncatingIfNeeded: $0 * 7) }
    let bytes = packet.header(12) + packet.bytes
    for sizes in [
      nil, [12, bytes.count - 12],
      [12 + packet.headerLength + 3, 77, bytes.count - 92 - packet.headerLength],
    ] {
      let received = pass(bytes, in: sizes)
      try #require(received.count == 1 && received[0].count == packet.bytes.count)
      // The header does not request the checksum of the IPv4 header.
      var alone = packet
      alone.isIPv4 = isIPv4
      var fixed = received[0]
      if isIPv4 {
        let sum = ~TransportFrame.sum(fixed[packet.network..<packet.transport]) & 0xffff
        fixed[packet.network + 10] = UInt8(sum >> 8)
        fixed[packet.network + 11] = UInt8(sum & 255)
      }
      #expect(alone.isSound(fixed), "\(String(describing: sizes))")
      #expect(received[0].suffix(501) == packet.payload[...])
    }
  }

  @Test("a checksum outside the first slot is not written")
  func badChecksum() throws {
    try set("vale0:a", 10)
    let packet = TransportFrame(payload: [UInt8](repeating: 1, count: 100))
    for (start, offset) in [(65_535, 65_535), (153, 0), (0, 153), (40, 65_500)] {
      var header = packet.header(10)
      header[6] = UInt8(start & 255)
      header[7] = UInt8(start >> 8)
      header[8] = UInt8(offset & 255)
      header[9] = UInt8(offset >> 8)
      #expect(pass(header + packet.bytes) == [packet.bytes])
    }
  }

  @Test(
    "long packets are cut into segments with correct headers and payload",
    arguments: [(true, true), (true, false), (false, true), (false, false)], [0, 1, 2])
  func segments(kind: (isIPv4: Bool, isTCP: Bool), tags: Int) throws {
    try set("vale0:a", 12)
    var packet = TransportFrame(isIPv4: kind.isIPv4, isTCP: kind.isTCP, tags: tags)
    packet.options = (kind.isIPv4 ? 8 : 0, kind.isTCP ? 12 : 0)
    packet.payload = (0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 13 >> 3) }
    let type: UInt8 = kind.isTCP ? (kind.isIPv4 ? 1 : 4) | 0x80 : 3
    let bytes = packet.header(12, type: type) + packet.bytes
    let received = pass(bytes, in: [2048, 1111, 2048, 2048, bytes.count - 7255])
    let each = 1514 - packet.headerLength
    try #require(received.count == (9000 + each - 1) / each)
    for (number, segment) in received.enumerated() {
      let isLast = number == received.count - 1
      #expect(segment.count == (isLast ? packet.headerLength + 9000 - number * each : 1514))
      #expect(packet.isSound(segment), "segment \(number)")
      let network = packet.network
      if kind.isIPv4 {
        #expect(big(segment, network + 2) == UInt32(segment.count - network))
        #expect(big(segment, network + 4) == UInt32((0xfffe + number) & 0xffff))
      } else {
        #expect(big(segment, network + 4) == UInt32(segment.count - network - 40))
      }
      if kind.isTCP {
        #expect(big(segment, packet.transport + 4, 4) == UInt32(0xffff + number * each))
        let flags: UInt8 = 0x90 & (number == 0 ? 0xff : 0x7f) | (isLast ? 0x09 : 0)
        #expect(segment[packet.transport + 13] == flags)
      } else {
        #expect(big(segment, packet.transport + 4) == UInt32(segment.count - packet.transport))
      }
    }
    #expect(received.flatMap { $0.dropFirst(packet.headerLength) } == packet.payload)
    #expect(b.rx().slots.prefix(received.count).allSatisfy { $0.flags.rawValue == 0 })
    let (sent, arrived) = (a.tx().counters, b.rx().counters)
    #expect(sent.packets == 1 && Int(arrived.packets) == received.count)
    #expect(sent.packets - sent.broadcasts + sent.copies == arrived.packets)
  }

  @Test("segments fill the buffers of a port that had headers before")
  func longerSegments() throws {
    try set("vale0:a", 12)
    try set("vale0:b", 12)
    try set("vale0:b", 0)
    let packet = TransportFrame(payload: [UInt8](repeating: 5, count: 5000))
    let bytes = packet.header(12, type: 1) + packet.bytes
    #expect(
      pass(bytes, in: [2048, 2048, bytes.count - 4096]).map(\.count)
        == [2048, 2048, 54 + 5000 - 2 * 1994])
  }

  @Test("a segmented packet without room is dropped whole; later packets may fit")
  func noRoom() throws {
    try set("vale0:a", 12)
    let small = try TestPort(engine, "vale0:small", hints: .slots(4))
    let packet = TransportFrame(payload: [UInt8](repeating: 5, count: 6000))
    let bytes = packet.header(12, type: 1) + packet.bytes
    a.tx().putPacket(bytes, in: [2048, 2048, bytes.count - 4096])
    let header = [UInt8](repeating: 0, count: 12)
    a.tx().putPacket(header + frame.bytes)
    a.tx().sync()
    #expect(small.rx().takePackets() == [frame.bytes])
    #expect(small.rx().counters.drops[.ringFull] == 1)
    #expect(b.rx().takePackets().count == 6)
  }

  @Test("packets with unsupported or false headers are dropped as bad_header")
  func badHeaders() throws {
    try set("vale0:a", 12)
    let good = TransportFrame(payload: [UInt8](repeating: 5, count: 3000))
    func expectDropped(_ header: [UInt8], _ packet: [UInt8], _ line: Int = #line) {
      let before = a.tx().counters.drops[.badHeader]
      let bytes = header + packet
      let sizes = bytes.count > 2048 ? [2048, bytes.count - 2048] : nil
      #expect(pass(bytes, in: sizes) == [], "line \(line)")
      #expect(a.tx().counters.drops[.badHeader] == before + 1, "line \(line)")
    }
    for type in [2, 5, 6, 0x7f] as [UInt8] {
      expectDropped(good.header(12, type: type), good.bytes)
    }
    expectDropped(good.header(12, type: 1, flags: 4), good.bytes)
    let header = good.header(12, type: 1)
    func damaged(_ offset: Int, _ value: UInt8) -> [UInt8] {
      var bytes = good.bytes
      bytes[offset] = value
      return bytes
    }
    expectDropped(header, damaged(12, 0x88))
    expectDropped(header, damaged(14, 0x41))
    expectDropped(header, damaged(14, 0x65))
    expectDropped(header, damaged(14, 0x4f).prefix(60).map { $0 })
    expectDropped(header, damaged(23, 17))
    expectDropped(header, damaged(46, 0x10))
    expectDropped(header, damaged(46, 0xf0).prefix(80).map { $0 })
    expectDropped(header, Array(good.bytes.prefix(20)))
    expectDropped(header, Array(good.bytes.prefix(54)))
    // The headers must lie in the first slot.
    let before = a.tx().counters.drops[.badHeader]
    #expect(pass(header + good.bytes, in: [12 + 40, 2000, good.bytes.count - 2040]) == [])
    #expect(a.tx().counters.drops[.badHeader] == before + 1)
  }

  @Test("random headers and packets cause no invalid access, and all packets are accounted for")
  func random() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? 0x5e6
    var generator = SeededGenerator(seed: seed)
    try set("vale0:a", 12)
    let other = try TestPort(
      engine, "vale0:o", flags: [.acceptVirtioNetHeader], hints: .slots(16),
      offsets: OffsetsOption(max: 1000, initial: 1000))
    for step in 0..<3000 {
      if generator.chance(5) {
        try set("vale0:a", [10, 12].randomElement(using: &generator) ?? 12)
        try set("vale0:o", [0, 10, 12].randomElement(using: &generator) ?? 0)
      }
      var packet = TransportFrame(
        isIPv4: generator.chance(50), isTCP: generator.chance(50),
        tags: Int.random(in: 0...3, using: &generator))
      packet.payload = .init(repeating: 3, count: Int.random(in: 0...9000, using: &generator))
      var bytes = packet.header(12, type: [0, 1, 3, 4].randomElement(using: &generator) ?? 0)
      bytes += packet.bytes
      for _ in 0..<Int.random(in: 0...3, using: &generator) {
        bytes[Int.random(in: 0..<min(bytes.count, 100), using: &generator)] =
          .random(in: 0...255, using: &generator)
      }
      var sizes: [Int] = []
      var left = bytes.count
      while left > 0 {
        let size = min(
          left, Int.random(in: 1...2048, using: &generator), sizes.count < 60 ? 2048 : left)
        sizes.append(min(size, 2048))
        left -= min(size, 2048)
      }
      guard sizes.count < 64 else { continue }
      a.tx().putPacket(bytes, in: sizes)
      a.tx().sync()
      _ = b.rx().takePackets()
      other.rx().sync()
      for _ in 0..<16 where other.rx().head != other.rx().tail {
        #expect(
          other.rx()[other.rx().head].length <= 1048, "NETMAP_TEST_SEED=\(seed), step \(step)")
        other.rx().move(to: other.rx().next(other.rx().head))
      }
      other.rx().sync()
    }
    let (sent, drops) = (a.tx().counters, a.tx().counters.drops.total)
    let arrived = [b, other].map { $0.rx().counters }
    #expect(
      sent.packets - sent.broadcasts + sent.copies
        == drops + arrived.reduce(0) { $0 + $1.packets + $1.drops.total })
  }
}
