import Netmap

/// Counts the packets sent to a UDP port: `sink netmap:NAME [UDP-PORT]`.
@main
struct Sink {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count > 1, let udpPort = UInt16(arguments.count > 2 ? arguments[2] : "8000")
    else { return print("usage: sink netmap:NAME [UDP-PORT]") }
    do {
      // The engine that all processes share: the sender may be another program.
      let port = try NetmapPort(arguments[1], engine: HostEngine.shared)
      var total = 0
      while true {
        total += try count(udpPort, on: port)
        print("\(total) packets to UDP port \(udpPort)")
      }
    } catch {
      print("sink: \(error)")
    }
  }

  /// Waits up to a second for packets, and counts those for `udpPort`.
  static func count(_ udpPort: UInt16, on port: NetmapPort) throws(NetmapError) -> Int {
    var matches = 0
    try port.wait(for: .receive, timeout: .seconds(1))
    for index in 0..<port.receiveRingCount {
      var ring = port.receiveRing(index)
      while let packet = ring.next() {
        if isUDP(packet.bytes, to: udpPort) { matches += 1 }
      }
    }
    return matches
  }

  /// Whether an Ethernet frame carries IPv4 and UDP to `port`.
  static func isUDP(_ frame: RawSpan, to port: UInt16) -> Bool {
    EthernetFrame(frame)?.ipv4?.udp?.destinationPort == port
  }
}
