import Netmap
import NetmapTestSupport
import Testing

/// Frames over a veth pair whose two ends are driven by TPACKET_V3.
@Suite(.serialized) struct PacketTests {
  @Test("frames of 42 to 1518 bytes arrive as they were sent, in order, VLAN tags included")
  func mixedFrames() throws {
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      var samples = SampleFrames(seed: 1)
      for _ in 0..<20 {
        let frames = samples.mixed(200)
        try fixture.send(frames)
        let received = try fixture.receive(frames.count)
        #expect(received.count == frames.count)
        #expect(received == frames)
      }
      #expect(fixture.sender.statistics.transmit.packets == 4000)
      #expect(fixture.receiver.statistics.receive.packets == 4000)
      #expect(fixture.receiver.statistics.receive.drops.total == 0)
      #expect(fixture.receiver.backend?.name == "packet")
      #expect(fixture.receiver.backend?.remarks == [])
    }
  }

  @Test("captured traffic arrives as it was sent", arguments: CaptureFile.named)
  func capture(_ path: String) throws {
    // What no interface with an MTU of 1500 would send is not sent.
    let frames = try CaptureFile.frames(of: path).filter { (14...1514).contains($0.count) }
    #expect(!frames.isEmpty)
    try NetworkNamespace.run {
      let fixture = try PacketFixture()
      for start in stride(from: 0, to: frames.count, by: 500) {
        let part = Array(frames[start..<min(frames.count, start + 500)])
        try fixture.send(part)
        #expect(try fixture.receive(part.count) == part)
      }
    }
  }

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
