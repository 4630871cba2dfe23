import Glibc
import Netmap

extension HostPeer {
  /// The number of extra buffers that a keeper asks for.
  private static let extraBuffers = 16

  /// A kept packet in an array.
  private final class Entry {
    var packet: KeptPacket?
    init(_ packet: consuming KeptPacket) { self.packet = consume packet }
  }

  /// Keeps `count` packets in extra buffers, at most 16, and then does nothing else.
  ///
  /// With a count of 0 it keeps packets, sends some of them back, and discards the others, without end.
  static func keep(_ name: String, count: Int) throws {
    let port = try NetmapPort(name, extraBuffers: extraBuffers, engine: HostEngine.shared)
    guard port.spareBufferCount == extraBuffers else {
      fail("\(port.spareBufferCount) extra buffers")
    }
    say("ready")
    var kept: [Entry] = []
    while true {
      try port.wait(for: .receive)
      var input = port.receiveRing(0)
      let most = count == 0 ? extraBuffers : count
      while kept.count < most, let packet = try input.keepNext() {
        guard isWhole(packet) else { fail("damaged") }
        kept.append(Entry(packet))
      }
      if kept.count == count {
        say("kept \(count)")
        while true { pause() }
      }
      guard count == 0 else { continue }
      var output = port.transmitRing(0)
      for entry in kept.dropFirst(kept.count / 2) { _ = output.append(&entry.packet) }
      kept.removeAll()
    }
  }

  private static func isWhole(_ packet: borrowing KeptPacket) -> Bool {
    Content(packet.bytes) != nil
  }
}
