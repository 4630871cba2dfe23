import Netmap
import NetmapTestSupport
import Testing

/// Monitors of network interfaces and of their host rings.
@Suite(.serialized) struct InterfaceMonitorTests {
  /// The frames of an experimental type that arrive, by ring, until there are `count` or none arrives for five seconds.
  private func take(_ count: Int, from port: NetmapPort) throws -> [Int: [[UInt8]]] {
    var frames: [Int: [[UInt8]]] = [:]
    var left = count
    while left > 0 {
      guard try port.wait(for: .receive, timeout: .seconds(5)) == .receive else { break }
      for index in 0..<port.receiveRingCount {
        var ring = port.receiveRing(index)
        while let packet = ring.next() {
          let bytes = [UInt8](packet)
          guard bytes.count > 14, bytes[12..<14] == [0x88, 0xb5] else { continue }
          frames[index, default: []].append(bytes)
          left -= 1
        }
      }
    }
    return frames
  }

  private func send(_ frame: [UInt8], to port: NetmapPort, ring: Int) throws {
    var output = port.transmitRing(ring)
    #expect(unsafe output.append(frame.span.bytes))
    try port.sync(.transmit)
  }

  @Test(
    "a monitor gets what an interface sends and receives, on the wire and on host rings",
    arguments: HostFixture.choices)
  func bothSides(choice: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let engine = try EmbeddedEngine()
      let wire = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      let port = try NetmapPort("netmap:near*@backend:name=\(choice)", engine: engine)
      let monitor = try NetmapPort("netmap:near*/rt", engine: engine)
      let sent = try NetmapPort("netmap:near/t", engine: engine)
      let host = try FrameSocket("near")
      let frames = (0..<6).map { numberedFrame($0, length: 100 + 200 * $0) }
      // From the wire. The monitor gets the packets when the port's program syncs.
      for frame in frames[0..<2] { try send(frame, to: wire, ring: 0) }
      #expect(try take(2, from: port) == [0: Array(frames[0..<2])])
      #expect(try take(2, from: monitor) == [0: Array(frames[0..<2])])
      // From the host.
      host.send(frames[2])
      #expect(try take(1, from: port) == [1: [frames[2]]])
      #expect(try take(1, from: monitor) == [1: [frames[2]]])
      // To the wire, and to the host.
      try send(frames[3], to: port, ring: 0)
      #expect(try take(1, from: wire) == [0: [frames[3]]])
      #expect(try take(1, from: monitor) == [0: [frames[3]]])
      try send(frames[4], to: port, ring: 1)
      #expect(try take(1, from: monitor) == [1: [frames[4]]])
      #expect(try take(1, from: sent) == [0: [frames[3]]])
      // The interface goes on without monitors.
      monitor.close()
      sent.close()
      try send(frames[5], to: wire, ring: 0)
      #expect(try take(1, from: port) == [0: [frames[5]]])
    }
  }

  @Test("an interface on a switch, whose packets a worker carries, can be monitored")
  func onSwitch() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      let engine = try EmbeddedEngine()
      let wire = try NetmapPort("netmap:\(pair.second)@backend:name=xdp", engine: engine)
      try engine.switches.attach(PortName("vale0:near"))
      let port = try NetmapPort("vale0:a", engine: engine)
      let monitor = try NetmapPort("netmap:near/rt", engine: engine)
      let frames = (0..<2).map { numberedFrame($0, length: 100) }
      try send(frames[0], to: port, ring: 0)
      #expect(try take(1, from: wire) == [0: [frames[0]]])
      #expect(try take(1, from: monitor) == [0: [frames[0]]])
      try send(frames[1], to: wire, ring: 0)
      #expect(try take(1, from: monitor) == [0: [frames[1]]])
    }
  }
}
