import Netmap
import TableSupport

/// A process whose sync gives the buffers of a pipe's ring to a monitor without copies. Other processes have the pipe open, and
/// read the monitor.
struct ExchangedPipeRow: KillRow {
  let name: String
  /// Whether the sync is that of a receive ring, with the slots that the program has released, and not that of a transmit ring
  /// to which slots come back.
  let receives: Bool

  static let all = [
    ExchangedPipeRow(name: "pipe tx, exchanged", receives: false),
    ExchangedPipeRow(name: "pipe rx, exchanged", receives: true),
  ]

  /// The end that has the monitor.
  private var monitored: String { receives ? "netmap:killed}1" : "netmap:killed{1" }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let sender = try NetmapPort("netmap:killed{1", engine: engine)
    let receiver = try NetmapPort("netmap:killed}1", engine: engine)
    // The first exchange maps the monitor's memory.
    try sender.send(from: 7, 0..<1)
    _ = try receiver.take()
    try sender.sync(.transmit)
    try sender.send(from: TableFrame.victim, 0..<3)
    try receiver.sync(.receive)
    do {
      var ring = receiver.receiveRing(0)
      for _ in 0..<3 {
        guard ring.next() != nil else { throw TableError("no packet") }
      }
    }
    if receives {
      return {
        try receiver.sync(.receive)
        withExtendedLifetime(sender) {}
      }
    }
    try receiver.sync(.receive)
    return {
      try sender.sync(.transmit)
      withExtendedLifetime(receiver) {}
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed, self) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let row: ExchangedPipeRow
    let sender: NetmapPort
    let receiver: NetmapPort
    let monitor: NetmapPort
    var seen: [Arrival] = []
    var sentBack: [Arrival] = []
    var refusedBefore: UInt64 = 0

    init(_ testbed: TableTestbed, _ row: ExchangedPipeRow) throws {
      self.testbed = testbed
      self.row = row
      sender = try NetmapPort("netmap:killed{1", engine: testbed.engine)
      receiver = try NetmapPort("netmap:killed}1", engine: testbed.engine)
      monitor = try NetmapPort("\(row.monitored)/z", engine: testbed.engine)
    }

    private var refused: UInt64 { monitor.statistics.receive.drops[.busy] }

    func arm() throws {
      let arrived = try monitor.take()
      try expect(arrived == [Arrival(7, 0)], "\(monitor.name): before the operation: \(arrived)")
    }

    /// The other direction of the pipe, whose ring at the monitored end fills the monitor, too.
    func meanwhile() throws {
      sentBack = [Arrival(6, 0)]
      try testbed.hold {
        try receiver.send(from: 6, 0..<1)
        let arrived = try sender.take()
        try expect(arrived == sentBack, "\(sender.name): \(arrived)")
        // The monitored end's sync gives the packet to the monitor. If the victim stands in an exchange, it is counted.
        try receiver.sync(.transmit)
      }
      seen = try testbed.hold { try monitor.take() }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      // The next syncs complete the victim's.
      try receiver.sync(.receive)
      try sender.sync(.transmit)
      seen += try monitor.take()
      try sender.send(from: 5, 0..<2)
      let arrived = try receiver.take()
      try expect(arrived == Arrival.all(5, 0..<2), "\(receiver.name): \(arrived)")
      try sender.sync(.transmit)
      seen += try monitor.take()
      let own = seen.filter { $0.sender == TableFrame.victim }
      try expect(
        own == Arrival.all(TableFrame.victim, 0..<3), "\(monitor.name): the victim's: \(seen)")
      let others = seen.filter { $0.sender == 5 }
      try expect(others == Arrival.all(5, 0..<2), "\(monitor.name): the next ones: \(seen)")
      let back = seen.filter { $0.sender == 6 }
      let lost = refused - refusedBefore
      try expect(
        back == sentBack && lost == 0 || back.isEmpty && lost == UInt64(sentBack.count),
        "\(monitor.name): of the other direction: \(seen), \(lost) refused")
      try expect(seen.count == own.count + others.count + back.count, "\(monitor.name): \(seen)")
      (seen, sentBack, refusedBefore) = ([], [], refused)
    }

    func end() {
      monitor.close()
      receiver.close()
      sender.close()
    }
  }
}
