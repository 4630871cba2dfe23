import Netmap
import TableSupport

/// A receiver on a switch, which reads two packets between two syncs. Another process sends to all ports.
struct SwitchReceiveRow: KillRow {
  let name: String
  /// Whether senders wait for the victim's room. The sender then has more packets than the victim's ring.
  let backpressure: Bool

  static let all = [
    SwitchReceiveRow(name: "vale rx", backpressure: false),
    SwitchReceiveRow(name: "vale rx, senders wait", backpressure: true),
  ]

  private var port: String {
    "vale7:killed@conf:slots=64" + (backpressure ? "@backpressure" : "")
  }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort(port, engine: engine)
    try port.inject(TableFrame.bytes(from: 1, 0, to: 99, source: 1))
    try port.sync(.transmit)
    return {
      try port.sync(.receive)
      do {
        var ring = port.receiveRing(0)
        _ = ring.next()
        _ = ring.next()
      }
      try port.sync(.receive)
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: SwitchReceiveRow
    let testbed: TableTestbed
    let bystander: NetmapPort
    let sender: NetmapPort
    var expected: [Arrival] = []
    var arrived: [Arrival] = []

    init(_ row: SwitchReceiveRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      bystander = try NetmapPort("vale7:r0", engine: testbed.engine)
      sender = try NetmapPort("vale7:other", engine: testbed.engine)
    }

    func arm() throws {
      _ = try bystander.take()
      _ = try sender.take()
      (expected, arrived) = ([], [])
      // The victim's port alone gets these.
      let count: UInt8 = row.backpressure ? 70 : 3
      try sender.send(from: 5, 0..<count, to: 1)
    }

    private func sendToAll(_ sender: UInt8, _ numbers: Range<UInt8>) throws {
      try self.sender.send(from: sender, numbers)
      expected += Arrival.all(sender, numbers)
    }

    func meanwhile() throws {
      try testbed.hold {
        try sendToAll(6, 0..<2)
        arrived += try bystander.take()
      }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      // Packets for a port that is gone leave the sender's ring.
      try sender.sync(.transmit)
      let next = try NetmapPort(row.port, engine: testbed.engine)
      let others = try next.take()
      try expect(others.isEmpty, "\(next.name): \(others)")
      try sendToAll(7, 9..<11)
      arrived += try bystander.take()
      try expect(arrived == expected, "\(bystander.name): \(arrived)")
      let last = try next.take()
      try expect(last == Arrival.all(7, 9..<11), "\(next.name): \(last)")
      try sender.sync(.transmit)
      let port = sender
      let ring = port.transmitRing(0)
      let (room, slots) = (ring.space, ring.slotCount)
      try expect(room == slots - 1, "\(sender.name): room for \(room) packets")
      next.close()
    }

    func end() {
      bystander.close()
      sender.close()
    }
  }
}
