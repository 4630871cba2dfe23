import Netmap

/// Forwards packets between two ports, in both directions: `forward netmap:NAME netmap:NAME`.
///
/// Packets are not copied if the ports share a memory region.
@main
struct Forward {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 3 else { return print("usage: forward netmap:NAME netmap:NAME") }
    do {
      // The engine that all processes share: senders and receivers may be other programs.
      let first = try NetmapPort(arguments[1], engine: HostEngine.shared)
      let second = try NetmapPort(arguments[2], engine: HostEngine.shared)
      let poller = Poller()
      while true { try forward(between: first, and: second, poller, timeout: nil) }
    } catch {
      print("forward: \(error)")
    }
  }

  /// Waits for packets on either port, and sends them out of the other one.
  ///
  /// Packets that find no room stay in their ring; the next call then waits for room on the other
  /// port.
  @discardableResult
  static func forward(
    between first: NetmapPort, and second: NetmapPort, _ poller: Poller, timeout: Duration?
  ) throws(NetmapError) -> Int {
    var items = [
      PollItem(first, for: wanted(of: first, facing: second)),
      PollItem(second, for: wanted(of: second, facing: first)),
    ]
    _ = try poller.wait(for: &items, timeout: timeout)
    let moved = move(from: first, to: second) + move(from: second, to: first)
    try first.sync(.transmit)
    try second.sync(.transmit)
    return moved
  }

  static func wanted(of port: NetmapPort, facing other: NetmapPort) -> Readiness {
    var wanted: Readiness = port.receiveRing(0).isEmpty ? .receive : []
    if !other.receiveRing(0).isEmpty { wanted.insert(.transmit) }
    return wanted
  }

  static func move(from source: NetmapPort, to target: NetmapPort) -> Int {
    var input = source.receiveRing(0)
    var output = target.transmitRing(0)
    return input.forward(to: &output)
  }
}
