import Netmap
import NetmapTestSupport
import Testing

/// Frames over a veth pair, in every mode that a veth can do.
@Suite(.serialized) struct XDPTransferTests {
  static let modes = ["copy", "generic"]

  @Test("frames of every size arrive complete, in order, and as often as they were sent", arguments: modes)
  func sizes(mode: String) throws {
    try NetworkNamespace.run {
      let pair = try VethPair()
      let sender = try Port("netmap:\(pair.first)@backend:name=xdp,mode=\(mode)")
      let receiver = try Port("netmap:\(pair.second)@backend:name=xdp,mode=\(mode)")
      #expect(sender.backend?.name == "xdp")
      #expect(sender.backend?.mode == mode)
      let frames = (42...1518).map {
        numberedFrame($0, length: $0, vlan: $0 % 3 == 0 ? 100 : nil)
      }
      // The MTU of 1500 allows 1514 bytes, 1518 with a tag.
      let legal = frames.filter { $0.count <= 1514 || $0[12] == 0x81 }
      for start in stride(from: 0, to: legal.count, by: 200) {
        let batch = Array(legal[start..<min(start + 200, legal.count)])
        try sender.send(batch)
        let received = try receiver.receive(batch.count)
        #expect(received.count == batch.count)
        #expect(received == batch)
      }
      #expect(sender.statistics.transmit.packets == UInt64(legal.count))
      #expect(receiver.statistics.receive.packets == UInt64(legal.count))
      #expect(receiver.statistics.receive.bytes == UInt64(legal.reduce(0) { $0 + $1.count }))
      #expect(receiver.statistics.receive.drops.total == 0)
    }
  }
}
