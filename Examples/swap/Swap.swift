import Netmap

/// Sends every packet back to its sender: `swap netmap:NAME`.
///
/// It swaps the Ethernet addresses, the IPv4 addresses, and the UDP or TCP ports. No checksum has
/// to change, because a sum does not depend on the order of its terms.
@main
struct Swap {
  static func main() {
    guard CommandLine.arguments.count == 2 else { return print("usage: swap netmap:NAME") }
    do {
      // The engine that all processes share: the sender may be another program.
      let port = try NetmapPort(CommandLine.arguments[1], engine: HostEngine.shared)
      while true { try echo(port, timeout: nil) }
    } catch {
      print("swap: \(error)")
    }
  }

  /// Waits for packets, and sends them back with their addresses swapped, without a copy.
  @discardableResult
  static func echo(_ port: NetmapPort, timeout: Duration?) throws(NetmapError) -> Int {
    // Packets that found no room last time are still there; then wait for room instead.
    let wanted: Readiness = port.receiveRing(0).isEmpty ? .receive : .transmit
    try port.wait(for: wanted, timeout: timeout)
    var input = port.receiveRing(0)
    var output = port.transmitRing(0)
    let count = input.forward(to: &output) { frame in swapAddresses(&frame) }
    try port.sync(.transmit)
    return count
  }

  static func swapAddresses(_ bytes: inout MutableRawSpan) {
    guard var frame = MutableEthernetFrame(&bytes) else { return }
    frame.swapAddresses()
    guard var packet = frame.ipv4 else { return }
    packet.swapAddresses()
    packet.swapPorts()
  }
}
