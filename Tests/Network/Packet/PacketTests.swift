import Netmap
import NetmapTestSupport
import Testing

/// Frames over a veth pair whose two ends are driven by TPACKET_V3.
@Suite(.serialized) struct PacketTests {
  @Test("a jumbo packet of several slots is one frame, and comes back in several slots")
  func jumbo() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture(mtu: 9000)
      var samples = SampleFrames(seed: 2)
      let frames = [9014, 2048, 2049, 4096, 60, 8000, 6145].map {
        samples.padded(SampleFrames.ipv4(protocol: 17), to: $0)
      }
      try fixture.send(frames)
      #expect(try fixture.receive(frames.count) == frames)
      #expect(fixture.sender.statistics.transmit.packets == UInt64(frames.count))
    }
  }
}
