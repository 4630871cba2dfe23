import Netmap

/// Sends packets through a pipe with both ends in one program: the first example to try.
@main
struct Hello {
  static func main() throws(NetmapError) {
    let sender = try NetmapPort("netmap:hello{1")
    let receiver = try NetmapPort("netmap:hello}1")

    for text in ["Hello", "from", "shared", "memory"] {
      sender.inject(Array(text.utf8))
    }
    try sender.sync(.transmit)

    try receiver.wait(for: .receive)
    var ring = receiver.receiveRing(0)
    while let packet = ring.next() {
      print("received \(packet.bytes.byteCount) bytes:", text(of: packet.bytes))
    }

    let statistics = sender.statistics
    print(
      "\(statistics.transmit.packets) packets, \(statistics.transmit.syncs) sync,",
      "\(statistics.systemCalls) system calls")
  }

  static func text(of bytes: RawSpan) -> String {
    String(decoding: (0..<bytes.byteCount).map { bytes[$0] }, as: UTF8.self)
  }
}
