import Netmap
import NetmapTestSupport
import Testing

/// Frames of a sender that offloads checksums and segmentation to its interface.
@Suite(.serialized) struct PacketRepairTests {
  /// A host on the first end of a veth pair with every offload, and a port on the other end.
  private static func offloadingHost() throws -> NetmapPort {
    _ = try VethPair()
    for command in [
      ["ethtool", "-K", "v0", "tx", "on", "sg", "on", "tso", "on", "gso", "on"],
      ["ethtool", "-K", "v0", "tx-udp-segmentation", "on"],
      ["ip", "address", "add", "10.0.0.1/24", "dev", "v0"],
    ] { _ = try TestProgram.output(of: command) }
    return try NetmapPort("netmap:v1@backend:name=packet", engine: EmbeddedEngine())
  }

  @Test("an offloaded checksum is completed")
  func checksum() throws {
    try NetworkNamespace.run {
      let port = try Self.offloadingHost()
      let socket = try UDPSocket(port: 9000)
      for length in [1, 2, 17, 18, 100, 1471, 1472] {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 7 + length) }
        try socket.send(payload, to: (10, 0, 0, 2), port: 9001)
        try port.wait(for: .receive, timeout: .seconds(1))
        let frames = port.takePackets()
        #expect(frames.count == 1)
        for frame in frames {
          #expect(SampleFrames.checksumsAreRight(frame))
          #expect(Array(frame[42...].prefix(length)) == payload)
        }
      }
      #expect(port.statistics.receive.repairs.description == "checksums 7")
    }
  }

  @Test("offloaded segmentation is done: packets arrive as segments with correct checksums")
  func segments() throws {
    try NetworkNamespace.run {
      let port = try Self.offloadingHost()
      let socket = try UDPSocket(port: 9000)
      for (length, size) in [(10_000, 1400), (2801, 1400), (1400, 1400), (40_000, 1000)] {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 7 + length) }
        try socket.send(payload, to: (10, 0, 0, 2), port: 9001, segments: CInt(size))
        var frames: [[UInt8]] = []
        while frames.count < (length + size - 1) / size,
          try !port.wait(for: .receive, timeout: .seconds(1)).isEmpty
        {
          frames += port.takePackets()
        }
        #expect(frames.count == (length + size - 1) / size)
        #expect(frames.allSatisfy { $0.count == 42 + size || $0 == frames.last })
        #expect(frames.allSatisfy(SampleFrames.checksumsAreRight))
        #expect(frames.flatMap { $0[42...] } == payload)
      }
      #expect(port.statistics.receive.drops.total == 0)
      // The third payload is one packet, whose checksum alone is left to do.
      #expect(port.statistics.receive.repairs.description == "checksums 1, super_packets 3")
    }
  }
}
