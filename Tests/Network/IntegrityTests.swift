import Netmap
import NetmapTestSupport
import Testing

/// Frames arrive as they were sent, with any backend on either end.
@Suite(.serialized) struct IntegrityTests {
  static let choices = ["xdp,mode=copy", "xdp,mode=generic", "packet"]

  /// Sends frames over a veth pair, and compares what arrives.
  ///
  /// - Parameters:
  ///   - frames: Frames that an interface with an MTU of 1500 can carry.
  ///   - sender: The backend of the sending end.
  ///   - receiver: The backend of the receiving end.
  /// - Throws: The errors of the ports.
  private static func check(_ frames: [[UInt8]], _ sender: String, _ receiver: String) throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let source = try NetmapPort("netmap:\(pair.first)@backend:name=\(sender)", engine: engine)
      let sink = try NetmapPort("netmap:\(pair.second)@backend:name=\(receiver)", engine: engine)
      for choice in [(source, sender), (sink, receiver)] {
        let backend = try #require(choice.0.backend)
        #expect(choice.1 == backend.name || choice.1 == "\(backend.name),mode=\(backend.mode)")
      }
      // Fewer frames than a ring has slots, so that no ring overflows.
      for start in stride(from: 0, to: frames.count, by: 500) {
        let part = Array(frames[start..<min(frames.count, start + 500)])
        try source.send(part)
        let arrived = try sink.receive(part.count)
        try #require(arrived.count == part.count, "after \(start) frames")
        for (index, frame) in arrived.enumerated() where frame != part[index] {
          Issue.record("frame \(start + index): \(frame.count) bytes of \(part[index].count)")
          return
        }
      }
      let (sent, received) = (source.statistics.transmit, sink.statistics.receive)
      #expect(sent.packets == UInt64(frames.count) && sent.drops.total == 0)
      #expect(received.packets == UInt64(frames.count) && received.drops.total == 0)
      #expect(received.bytes == UInt64(frames.reduce(0) { $0 + $1.count }))
    }
  }

  @Test(
    "frames of 42 to 1518 bytes, IPv4, IPv6 and VLAN-tagged, arrive unchanged and in order",
    arguments: choices, choices)
  func mixed(sender: String, receiver: String) throws {
    var samples = SampleFrames(seed: 1)
    let frames = samples.mixed(2000)
    #expect(frames.contains { $0.count == 42 } && frames.contains { $0.count > 1514 })
    #expect(
      frames.contains { $0[12...13] == [0x81, 0] } && frames.contains { $0[12...13] == [8, 0] })
    try Self.check(frames, sender, receiver)
  }

  @Test("captured traffic arrives as it was sent", arguments: CaptureFile.named, choices)
  func captured(path: String, choice: String) throws {
    let all = try CaptureFile.frames(of: path)
    // Without frames that exceed an MTU of 1500, such as a host's own super-packets.
    let frames = all.filter { frame in
      let isTagged = frame.count >= 14 && [[0x81, 0x00], [0x88, 0xa8]].contains(frame[12...13])
      return (14...(isTagged ? 1518 : 1514)).contains(frame.count)
    }
    #expect(!frames.isEmpty)
    print("\(frames.count) of \(all.count) captured frames through \(choice)")
    try Self.check(frames, choice, choice)
  }
}
