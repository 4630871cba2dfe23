import Netmap

extension HostPeer {
  /// Forwards packets from one pipe to another in the same region, without end, at most `batch` at
  /// a time.
  static func forward(_ source: NetmapPort, _ target: NetmapPort, batch: Int) throws {
    guard source.sharesMemory(with: target) else { fail("the ports lie in two regions") }
    say("ready")
    while true {
      var input = source.receiveRing(0)
      var output = target.transmitRing(0)
      let isFull = output.isFull
      if input.forward(to: &output, limit: batch) > 0 {
        try target.sync(.transmit)
        try source.sync(.receive)
      } else if isFull {
        try target.wait(for: .transmit, timeout: .milliseconds(100))
      } else {
        try source.wait(for: .receive, timeout: .milliseconds(100))
      }
    }
  }
}
