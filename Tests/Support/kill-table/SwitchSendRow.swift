import Netmap
import NetmapCore
import TableSupport

/// A sender on a switch. Three other processes receive, another one sends.
struct SwitchSendRow: KillRow {
  let name: String
  /// The destinations of the victim's packets, each a receiver's number or nil for all. Each list is one sync.
  let packets: [[UInt8?]]
  /// The source addresses of the victim's packets, in turns.
  var sources: [UInt8] = [TableFrame.victim]
  /// The packets of another process that each receiver has not read when the victim sends.
  var unread: UInt8 = 0
  /// The free slots that each receiver has left then; nil for as many as the unread packets leave.
  var room: UInt8?
  /// Whether receiver 0 lets no packet be dropped.
  var backpressure = false
  var module = SwitchModuleChoice.learning

  static let receivers = 3
  static let slots: UInt8 = 64

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("vale7:killed", engine: engine)
    var number: UInt8 = 0
    var frames = packets.map { list in
      list.map { target in
        defer { number += 1 }
        return TableFrame.bytes(
          from: TableFrame.victim, number, to: target.map { $0 + 1 },
          source: sources[Int(number) % sources.count])
      }
    }
    for frame in frames.removeFirst() { try port.inject(frame) }
    // The packets of later syncs are copied during the operation.
    return {
      try port.sync(.transmit)
      for list in frames {
        for frame in list { try port.inject(frame) }
        try port.sync(.transmit)
      }
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: SwitchSendRow
    let testbed: TableTestbed
    let receivers: [NetmapPort]
    let other: NetmapPort
    /// What other senders have sent to each receiver since the last point.
    var expected: [[Arrival]]
    var early: [[Arrival]]
    /// The packets that each receiver has taken since it was opened.
    var taken: [UInt64]
    var turn = 0

    init(_ row: SwitchSendRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      receivers = try (0..<SwitchSendRow.receivers).map {
        try NetmapPort(
          "vale7:r\($0)@conf:slots=\(SwitchSendRow.slots)"
            + (row.backpressure && $0 == 0 ? "@backpressure" : ""), engine: testbed.engine)
      }
      other = try NetmapPort("vale7:other", engine: testbed.engine)
      expected = receivers.map { _ in [] }
      early = receivers.map { _ in [] }
      taken = receivers.map { _ in 0 }
      if row.module != .learning {
        try testbed.engine.switches.setModule(row.module, of: "vale7")
      }
    }

    func prepare() throws {
      // The switch learns where each address is.
      for (number, port) in receivers.enumerated() {
        try port.inject(
          TableFrame.bytes(from: 1 + UInt8(number), 0, to: 99, source: 1 + UInt8(number)))
        try port.sync(.transmit)
      }
      for index in receivers.indices { _ = try take(index) }
      _ = try other.take()
      for index in receivers.indices { (expected[index], early[index]) = ([], []) }
      let count = row.room.map { SwitchSendRow.slots - 1 - $0 } ?? row.unread
      if count > 0 { try row.module == .hub ? sendOthers(5, 0..<count) : leaveUnread(count) }
    }

    /// Leaves packets unread, in leases of different lengths.
    ///
    /// So the receivers' leases have numbers that are close to each other, but begin at different slots. With equal
    /// numbers and slots, an announcement that mixes two receivers' leases would do no harm.
    private func leaveUnread(_ count: UInt8) throws {
      turn += 1
      for index in receivers.indices {
        let length = [1, 2, count][(index + turn) % 3]
        var sent: UInt8 = 0
        while sent < count {
          let end = min(count, sent + length)
          try other.send(from: 5, sent..<end, to: 1 + UInt8(index))
          sent = end
        }
        expected[index] += Arrival.all(5, 0..<count)
      }
    }

    private func take(_ index: Int) throws -> [Arrival] {
      let arrived = try receivers[index].take()
      taken[index] += UInt64(arrived.count)
      return arrived
    }

    private func sendOthers(_ sender: UInt8, _ numbers: Range<UInt8>) throws {
      if row.module == .hub { return try sendToAll(sender, numbers) }
      for index in receivers.indices {
        try other.send(from: sender, numbers, to: 1 + UInt8(index))
        expected[index] += Arrival.all(sender, numbers)
      }
    }

    private func sendToAll(_ sender: UInt8, _ numbers: Range<UInt8>) throws {
      try other.send(from: sender, numbers)
      for index in receivers.indices { expected[index] += Arrival.all(sender, numbers) }
    }

    func meanwhile() throws {
      try testbed.hold {
        if row.room == nil { try sendOthers(6, 0..<2) }
        for index in receivers.indices { early[index] += try take(index) }
        if row.room != nil { try sendOthers(6, 0..<2) }
      }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      for index in receivers.indices { early[index] += try take(index) }
      try sendOthers(7, 9..<11)
      for (index, port) in receivers.enumerated() {
        let arrived = early[index] + (try take(index))
        try check(arrived, index, port.name, mode)
        // What a sender reports with a lease is its own, also if the sender is dead.
        let counted = port.statistics.receive.packets
        try expect(
          counted == taken[index], "\(port.name): \(taken[index]) packets, counted \(counted)")
      }
      _ = try other.take()
    }

    private func check(
      _ arrived: [Arrival], _ index: Int, _ name: String, _ mode: KillMode
    ) throws {
      let own = arrived.filter { $0.sender == TableFrame.victim }.map(\.number)
      let list = row.packets.flatMap { $0 }
      let sent = list.indices
        .filter { list[$0] == nil || list[$0] == UInt8(index) || row.module == .hub }
        .map { UInt8($0) }
      // A process that is killed has sent the first packets for each receiver. With room for fewer packets, the
      // first ones arrive. A process that goes on sends all packets, and the switch drops those without room.
      let most = row.room.map { min(Int($0), sent.count) } ?? sent.count
      let mayBe = mode == .kill && !row.backpressure ? own.count <= most : own.count <= sent.count
      try expect(
        own == Array(sent.prefix(own.count)) && mayBe
          && (mode != .stop || row.room != nil || own.count == sent.count),
        "\(name): the victim's packets: \(arrived)")
      let rest = arrived.filter { $0.sender != TableFrame.victim }
      let wanted = expected[index]
      for sender in Set(wanted.map(\.sender)) {
        try expect(
          rest.filter { $0.sender == sender } == wanted.filter { $0.sender == sender },
          "\(name): of sender \(sender): \(arrived)")
      }
      try expect(rest.count == wanted.count, "\(name): \(arrived)")
      let last = Arrival.all(7, 9..<11)
      try expect(Array(arrived.suffix(2)) == last, "\(name): \(arrived)")
      let unread = Arrival.all(5, 0..<UInt8(wanted.count { $0.sender == 5 }))
      try expect(Array(arrived.prefix(unread.count)) == unread, "\(name): \(arrived)")
    }

    func end() {
      for port in receivers + [other] { port.close() }
    }
  }

  /// All rows of this kind.
  static let all: [SwitchSendRow] = [
    SwitchSendRow(name: "vale tx to one port", packets: [[0, 0, 0]]),
    SwitchSendRow(name: "vale tx flood", packets: [[nil, nil, nil]]),
    SwitchSendRow(name: "vale tx flood, unread packets", packets: [[nil, nil, nil]], unread: 5),
    SwitchSendRow(name: "vale tx flood, full rings", packets: [[nil, nil, nil]], room: 2),
    SwitchSendRow(name: "vale tx lists", packets: [[0, 1, nil, 2, 0, 1, nil, 2]], unread: 3),
    SwitchSendRow(
      name: "vale tx runs", packets: [[UInt8?](repeating: 1, count: 20)],
      sources: [TableFrame.victim, 0x78], unread: 3),
    SwitchSendRow(
      name: "vale tx by turns", packets: [[0], [1], [0], [nil], [1]], unread: 5),
    SwitchSendRow(
      name: "vale tx filter module", packets: [[0, 1, 1, nil]], unread: 3,
      module: .filter(rules: "default allow")),
    SwitchSendRow(name: "vale tx hub module", packets: [[0, 1]], unread: 3, module: .hub),
    SwitchSendRow(
      name: "vale tx backpressure, room", packets: [[0, 0, nil]], unread: 3, backpressure: true),
    SwitchSendRow(
      name: "vale tx backpressure, full", packets: [[0, 1, 0, 0]], room: 2, backpressure: true),
    SwitchSendRow(
      name: "vale tx backpressure, flood", packets: [[nil, nil, nil]], room: 2,
      backpressure: true),
  ]
}
