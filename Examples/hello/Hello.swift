import Netmap

/// Sends packets through a pipe with both ends in one program: the first example to try.
@main
struct Hello {
  static func main() throws(NetmapError) {
    let sender = try NetmapPort("netmap:hello{1")
    let receiver = try NetmapPort("netmap:hello}1")

    for text in ["Hello", "from", "shared", "memory"] {
      try sender.inject(Array(text.utf8))
    }
    try sender.sync(.transmit)

    try receiver.wait(for: .receive)
    var ring = receiver.receiveRing(0)
    while let packet = ring.next() {
      print("received \(packet.length) bytes:", String(decoding: [UInt8](packet), as: UTF8.self))
    }

    let statistics = sender.statistics
    print(
      "\(statistics.transmit.packets) packets, \(statistics.transmit.syncs) sync,",
      "\(statistics.systemCalls) system calls")
  }
}
