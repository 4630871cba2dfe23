import CLinux
import Netmap
import NetmapLinux
import NetmapTestSupport
import Testing

/// The receiving ring driver over blocks that the test fills; needs no privileges and no interface.
@Suite struct PacketBlockTests {
  private let blocks = FakeBlocks()
  private let port: NetmapPort

  init() throws {
    port = try NetmapPort(
      "netmap:fake", engine: EmbeddedEngine(interfaces: FakeInterfaces(backend: blocks)))
  }

  private func receive() throws -> [[UInt8]] {
    try port.sync(.receive)
    return port.takePackets()
  }

  private func frame(_ count: Int, _ byte: UInt8) -> FakeBlocks.Frame {
    .init(bytes: SampleFrames.ethernet(type: 0x88b5) + Array(repeating: byte, count: count - 14))
  }

  @Test("blocks are read in turn, again and again, and returned when empty")
  func turns() throws {
    for round in 0..<10 {
      let index = round % blocks.layout.blockCount
      blocks.publish(index, (0..<5).map { frame(60 + $0, UInt8(round)) })
      #expect(!blocks.isReturned(index))
      #expect(try receive() == (0..<5).map { frame(60 + $0, UInt8(round)).bytes })
      #expect(blocks.isReturned(index))
      #expect(try receive().isEmpty)
    }
  }

  @Test("packets that do not fit the ring wait in their block; one of several slots arrives whole")
  func fullRing() throws {
    let frames = (0..<62).map { frame(60, UInt8($0)) } + [frame(5000, 9), frame(60, 10)]
    blocks.publish(0, frames)
    try port.sync(.receive)
    #expect(port.receiveRing(0).count == 62)
    #expect(!blocks.isReturned(0))
    // Two free slots are not enough for a packet of three.
    var ring = port.receiveRing(0)
    ring.skip(1)
    try port.sync(.receive)
    #expect(port.receiveRing(0).count == 61)
    ring = port.receiveRing(0)
    ring.skip(1)
    try port.sync(.receive)
    #expect(port.receiveRing(0).count == 63)
    #expect(port.takePackets() == frames[2..<63].map(\.bytes))
    #expect(try receive() == [frames[63].bytes])
    #expect(blocks.isReturned(0))
  }

  @Test("a packet that is too large for the ring is dropped and counted")
  func giant() throws {
    blocks.publish(0, [frame(64 * 2048, 1), frame(60, 2)])
    #expect(try receive() == [frame(60, 2).bytes])
    #expect(port.statistics.receive.drops[.badLength] == 1)
  }

  @Test("a header that points outside the block ends its reading, and the lost frames are counted")
  func damage() throws {
    var bad = frame(60, 1)
    bad.claimed = 300_000
    blocks.publish(0, [frame(60, 0), bad, frame(60, 2)])
    #expect(try receive() == [frame(60, 0).bytes])
    #expect(blocks.isReturned(0))
    #expect(port.statistics.receive.drops[.kernel] == 2)
    blocks.publish(1, [], firstOffset: .max)
    #expect(try receive().isEmpty)
    #expect(blocks.isReturned(1))
  }

  @Test("VLAN tags are put back with their type; the host's own packets are left out")
  func tags() throws {
    var customer = frame(60, 1)
    customer.tag = (0x8100, 0x6007)
    var provider = frame(2048, 2)
    provider.tag = (0x88a8, 100)
    var own = frame(60, 3)
    own.isOutgoing = true
    blocks.publish(0, [customer, provider, own])
    let received = try receive()
    #expect(received.map(\.count) == [64, 2052])
    #expect(Array(received[0][12..<18]) == [0x81, 0x00, 0x60, 0x07, 0x88, 0xb5])
    #expect(Array(received[1][12..<18]) == [0x88, 0xa8, 0x00, 100, 0x88, 0xb5])
    #expect(Array(received[0][..<12]) == Array(customer.bytes[..<12]))
    #expect(received[1].last == 2)
  }

  @Test(
    "a TCP super-packet becomes segments as on the wire, over several syncs if necessary",
    arguments: [0, 50])
  func tcpSegments(_ held: Int) throws {
    var bytes = SampleFrames.ipv4(protocol: 6)[..<34] + [0x10, 0, 0, 9]
    // Sequence number near the end of its range, flags CWR, ACK, PSH and FIN.
    bytes += [0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0x50, 0x99, 1, 0, 0, 0, 0, 0]
    let payload = (0..<30_000).map { UInt8(truncatingIfNeeded: $0 * 31) }
    var frame = FakeBlocks.Frame(bytes: Array(bytes) + payload)
    frame.offload = (1, UInt8(VIRTIO_NET_HDR_GSO_TCPV4), 1448, 34, 16)
    blocks.publish(0, (0..<held).map { _ in self.frame(60, 0) } + [frame])
    try port.sync(.receive)
    #expect(blocks.isReturned(0) == (held == 0))
    var received = port.takePackets()
    received += try receive()
    received.removeFirst(held)
    #expect(received.count == 21)
    #expect(received.flatMap { $0[54...] } == payload)
    #expect(received.allSatisfy(SampleFrames.checksumsAreRight))
    for (index, segment) in received.enumerated() {
      let sequence = segment[38..<42].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      #expect(sequence == 0xffff_ff00 &+ UInt32(index * 1448))
      #expect(segment[19] == UInt8(1 + index))
      let isLast = index == 20
      #expect(segment[47] == 0x10 | (index == 0 ? 0x80 : 0) | (isLast ? 0x09 : 0))
    }
    #expect(blocks.isReturned(0))
  }

  @Test(
    "an SCTP packet, whose CRC nobody computes here, is dropped and counted; others pass",
    arguments: [4, 6])
  func crc(version: Int) throws {
    func packet(_ number: UInt8) -> FakeBlocks.Frame {
      let header =
        version == 4 ? SampleFrames.ipv4(protocol: number) : SampleFrames.ipv6(protocol: number)
      var frame = FakeBlocks.Frame(bytes: header + [UInt8](repeating: 1, count: 40))
      let start = version == 4 ? 34 : 54
      frame.offload = (1, 0, 0, UInt16(start), number == 132 ? 8 : number == 6 ? 16 : 6)
      return frame
    }
    blocks.publish(0, [packet(132), packet(17), packet(132), packet(6)])
    let received = try receive()
    #expect(received.map { $0[version == 4 ? 23 : 20] } == [17, 6])
    let counted = port.statistics.receive
    #expect(counted.drops.description == "unfinished 2")
    #expect(counted.repairs.description == "checksums 2")
  }

  @Test("offload words that make no sense: the frame passes as it is, or is dropped and counted")
  func nonsense() throws {
    var generator = SeededGenerator(seed: 13)
    var (passed, dropped) = (0, 0)
    for round in 0..<2000 {
      let length = Int.random(in: 14...3000, using: &generator)
      let version = round % 3
      let header =
        version == 0
        ? SampleFrames.ethernet(type: 0x88b5)
        : version == 1 ? SampleFrames.ipv4(protocol: 6) : SampleFrames.ipv6(protocol: 17)
      var frame = FakeBlocks.Frame(
        bytes: Array(
          (header + (0..<3000).map { _ in UInt8.random(in: 0...255, using: &generator) })
            .prefix(length)))
      func word() -> UInt16 {
        Bool.random(using: &generator)
          ? UInt16.random(in: 0...UInt16.max, using: &generator)
          : UInt16.random(in: 0...64, using: &generator)
      }
      let kinds: [UInt8] = [0, 1, 3, 4, 5, 0x80, 0x81, 0x77]
      frame.offload = (
        UInt8.random(in: 0...3, using: &generator),
        kinds.randomElement(using: &generator) ?? 0, word(), word(), word()
      )
      let before = port.statistics.receive
      blocks.publish(round % blocks.layout.blockCount, [frame])
      var received: [[UInt8]] = []
      while true {
        let more = try receive()
        if more.isEmpty { break }
        received += more
      }
      #expect(blocks.isReturned(round % blocks.layout.blockCount))
      let after = port.statistics.receive
      let drops = after.drops.total - before.drops.total
      let segments = after.repairs.superPackets - before.repairs.superPackets
      if segments == 0 {
        #expect(received.count + Int(drops) == 1)
        #expect(received.allSatisfy { $0.count == length })
      }
      passed += received.count
      dropped += Int(drops)
    }
    #expect(passed > 100 && dropped > 100, "\(passed) and \(dropped)")
  }

  enum Cut: CaseIterable {
    /// Only slots were filled.
    case beforeThePlace
    /// The cursors say that the block is finished, but it was not returned, nor the ring's tail moved.
    case beforeHandingBack
    /// The same, with the block returned to the kernel.
    case handedBack
    /// The same, and the kernel has filled the block again since.
    case filledAgain
  }

  @Test(
    "the next sync repairs an interrupted one: each packet arrives once",
    arguments: Cut.allCases)
  func killed(_ cut: Cut) throws {
    let frames = (0..<5).map { frame(60 + $0, UInt8($0)) }
    // Begin inside the ring, where no correct cursor is 0.
    blocks.publish(0, [frame(60, 100), frame(61, 101)])
    #expect(try receive().count == 2)
    try port.sync(.receive)
    let before = blocks.currentWords
    blocks.publish(1, frames)
    try port.sync(.receive)
    #expect(blocks.isReturned(1))
    var words = before
    if cut != .beforeThePlace { words.cursors = blocks.currentWords.cursors }
    words.markUnderWay()
    blocks.restore(words)
    switch cut {
    case .beforeThePlace, .beforeHandingBack: blocks.takeBack(1)
    case .handedBack: break
    case .filledAgain: blocks.publish(1, [frame(70, 9)])
    }
    #expect(port.receiveRing(0).count == 0)
    #expect(try receive() == frames.map(\.bytes))
    #expect(try receive().isEmpty)
    #expect(blocks.isReturned(1) == (cut != .filledAgain))
    // Reading continues with the next block, and reaches this one again in turn.
    for index in 2..<blocks.layout.blockCount {
      blocks.publish(index, [frame(80, UInt8(index))])
      #expect(try receive() == [frame(80, UInt8(index)).bytes])
    }
    blocks.publish(0, [frame(90, 0)])
    let last =
      cut == .filledAgain ? [frame(90, 0).bytes, frame(70, 9).bytes] : [frame(90, 0).bytes]
    #expect(try receive() == last)
  }
}
