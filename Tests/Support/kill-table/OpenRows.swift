import Netmap
import TableSupport

/// Opening and closing a port, from the connection to netmapd on. Another process uses the same switch or pipe.
struct OpenRow: KillRow {
  let name: String
  let port: String
  var unit = StepUnit.calls
  /// Whether the operation is the close alone.
  var closes = false
  var spacing = 1
  var extraBuffers = 0
  let modes = [KillMode.kill, .stopAndKill]

  static let all = [
    OpenRow(name: "open and close a pipe", port: "netmap:killed{1"),
    OpenRow(name: "open and close on a switch", port: "vale7:killed"),
    OpenRow(name: "open and close, isolated", port: "netmap:killed{1/i"),
    OpenRow(name: "open and close, extra buffers", port: "netmap:killed{1", extraBuffers: 8),
    OpenRow(
      name: "open a pipe, by instruction", port: "netmap:killed{1", unit: .instructions,
      spacing: 101),
    OpenRow(
      name: "open on a switch, by instruction", port: "vale7:killed", unit: .instructions,
      spacing: 211),
    OpenRow(
      name: "close a pipe", port: "netmap:killed{1", unit: .instructions, closes: true),
    OpenRow(
      name: "close on a switch", port: "vale7:killed", unit: .instructions, closes: true),
  ]

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    if closes {
      let port = try NetmapPort(port, extraBuffers: extraBuffers, engine: engine)
      try port.inject(TableFrame.bytes(from: TableFrame.victim, 0))
      try port.sync(.transmit)
      return { port.close() }
    }
    return { [port, extraBuffers] in
      let port = try NetmapPort(port, extraBuffers: extraBuffers, engine: engine)
      port.close()
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: OpenRow
    let testbed: TableTestbed
    /// A port that the victim's port can send to, and one that sends to it.
    let receiver: NetmapPort
    let sender: NetmapPort

    init(_ row: OpenRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      let isSwitch = row.port.hasPrefix("vale")
      receiver = try NetmapPort(isSwitch ? "vale7:r0" : "netmap:killed}1", engine: testbed.engine)
      sender = try NetmapPort(isSwitch ? "vale7:other" : "netmap:other{1", engine: testbed.engine)
      if row.port.hasSuffix("/i") {
        // The worker starts with the first isolated port, and is a client.
        try NetmapPort(row.port, engine: testbed.engine).close()
      }
    }

    func meanwhile() throws {
      _ = try testbed.hold { try receiver.take() }
      // The daemon answers others while the victim stands still.
      try testbed.hold { try NetmapPort("netmap:third{1", engine: testbed.engine).close() }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      _ = try receiver.take()
      let next = try NetmapPort(
        row.port, extraBuffers: row.extraBuffers, engine: testbed.engine)
      try next.send(from: 5, 0..<2)
      let end = ContinuousClock.now + .seconds(2)
      var arrived: [Arrival] = []
      while arrived.count < 2, ContinuousClock.now < end { arrived += try receiver.take() }
      try expect(arrived == Arrival.all(5, 0..<2), "\(receiver.name): \(arrived)")
      next.close()
    }

    func end() {
      receiver.close()
      sender.close()
    }
  }
}

/// A receiver that keeps packets in extra buffers and sends one of them on.
struct KeepRow: KillRow {
  let name = "keep packets"

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("netmap:killed}1", extraBuffers: 4, engine: engine)
    try port.sync(.receive)
    return {
      var kept: KeptPacket?
      do {
        var input = port.receiveRing(0)
        kept = try input.keepNext()
        _ = try input.keepNext()
      }
      do {
        var output = port.transmitRing(0)
        _ = output.append(&kept)
      }
      try port.sync(.receive)
      try port.sync(.transmit)
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let peer: NetmapPort

    init(_ testbed: TableTestbed) throws {
      self.testbed = testbed
      peer = try NetmapPort("netmap:killed{1", engine: testbed.engine)
    }

    func prepare() throws { try peer.send(from: 5, 0..<3) }

    func meanwhile() throws { try testbed.hold { try peer.sync(.receive) } }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      let next = try NetmapPort("netmap:killed}1", extraBuffers: 4, engine: testbed.engine)
      // Sends what the victim has put into the ring.
      try next.sync(.transmit)
      let back = try peer.take()
      try expect(back.isEmpty || back == [Arrival(5, 0)], "\(peer.name): \(back)")
      let left = try next.take()
      // A kept packet leaves the ring at the receiver's next sync; its slot has an extra buffer then.
      let all = Arrival.all(5, 0..<3)
      try expect(left.suffix(1) == all.suffix(1), "\(next.name): \(left)")
      try peer.send(from: 6, 9..<10)
      let last = try next.take()
      try expect(last == [Arrival(6, 9)], "\(next.name): \(last)")
      next.close()
    }

    func end() { peer.close() }
  }
}
