import Netmap

/// A firewall between this host and its network: `firewall eth0 22 80` lets everything pass but new TCP connections
/// from the network to other ports.
@main
struct Firewall {
  let openPorts: Set<UInt16>

  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count > 1 else { return print("usage: firewall INTERFACE [PORT]...") }
    let firewall = Firewall(openPorts: Set(arguments.dropFirst(2).compactMap { UInt16($0) }))
    do {
      // '*': the rings of the interface, and those of the host.
      let port = try NetmapPort("netmap:\(arguments[1])*")
      while true { try firewall.filter(port, timeout: nil) }
    } catch {
      print("firewall: \(error)")
    }
  }

  /// Waits for packets. Those from the host go to the network, and those from the network to the host, if they may.
  func filter(_ port: NetmapPort, timeout: Duration?) throws(NetmapError) {
    _ = try port.wait(for: .receive, timeout: timeout)
    for index in 0..<port.receiveRingCount {
      var ring = port.receiveRing(index)
      let isFromHost = index >= port.geometry.receiveRings
      ring.passOn { packet in isFromHost || accepts(packet) }
    }
    try port.sync(.receive)
  }

  func accepts(_ packet: borrowing Packet) -> Bool {
    guard let frame = EthernetFrame(packet.bytes) else { return false }
    if let ip = frame.ipv4, ip.nextProtocol == .tcp { return accepts(ip.tcp) }
    if let ip = frame.ipv6, ip.nextProtocol == .tcp { return accepts(ip.tcp) }
    return true
  }

  func accepts(_ segment: TCPSegment?) -> Bool {
    // A fragment does not say what it belongs to.
    guard let segment else { return false }
    return segment.flags.intersection([.syn, .ack]) != .syn
      || openPorts.contains(segment.destinationPort)
  }
}
