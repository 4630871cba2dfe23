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

  static func swapAddresses(_ frame: inout MutableRawSpan) {
    guard frame.byteCount >= 14 else { return }
    frame.exchange(0, 6, count: 6)
    guard frame.byteCount >= 34, frame[12] == 0x08, frame[13] == 0 else { return }
    frame.exchange(26, 30, count: 4)
    let ports = 14 + Int(frame[14] & 0xf) * 4
    let hasPorts = frame[23] == 6 || frame[23] == 17
    if hasPorts, frame.byteCount >= ports + 4 { frame.exchange(ports, ports + 2, count: 2) }
  }
}
