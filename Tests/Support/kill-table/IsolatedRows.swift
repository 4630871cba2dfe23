import Glibc
import Netmap
import TableSupport

/// An isolated port, whose packets netmapd's worker carries. Another process has the other end of the pipe.
struct IsolatedRow: KillRow {
  let name: String
  let isSender: Bool

  static let all = [
    IsolatedRow(name: "isolated tx", isSender: true),
    IsolatedRow(name: "isolated rx", isSender: false),
  ]

  private var own: String { isSender ? "netmap:killed{1" : "netmap:killed}1" }
  private var other: String { isSender ? "netmap:killed}1" : "netmap:killed{1" }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("\(own)/i", engine: engine)
    if isSender {
      for number in 0..<3 as Range<UInt8> {
        try port.inject(TableFrame.bytes(from: TableFrame.victim, number))
      }
      return { try port.sync(.transmit) }
    }
    return {
      try port.sync(.receive)
      do {
        var ring = port.receiveRing(0)
        _ = ring.next()
      }
      try port.sync(.receive)
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: IsolatedRow
    let testbed: TableTestbed
    let port: NetmapPort
    var arrived: [Arrival] = []

    init(_ row: IsolatedRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      port = try NetmapPort(row.other, engine: testbed.engine)
      // The worker starts with the first isolated port, and is a client.
      try NetmapPort("\(row.own)/i", engine: testbed.engine).close()
    }

    func arm() throws {
      arrived = []
      guard !row.isSender else { return }
      try port.send(from: 5, 0..<3)
    }

    func meanwhile() throws {
      try testbed.hold {
        if row.isSender {
          arrived += try port.take()
        } else {
          try port.send(from: 5, 3..<5)
        }
      }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      let next = try NetmapPort("\(row.own)/i", engine: testbed.engine)
      let (sender, receiver) = row.isSender ? (next, port) : (port, next)
      try sender.send(from: 6, 8..<10)
      let end = ContinuousClock.now + .seconds(2)
      while arrived.last != Arrival(6, 9), ContinuousClock.now < end {
        arrived += try receiver.take()
        usleep(50)
      }
      if row.isSender {
        try expectExact(
          arrived, others: [Arrival.all(6, 8..<10)], most: 3, all: mode == .stop, receiver.name)
      } else {
        // The worker has given some of the packets to the victim's region, which is gone.
        let own = arrived.filter { $0.sender == 5 }
        try expect(
          Array(arrived.suffix(2)) == Arrival.all(6, 8..<10) && own.count == arrived.count - 2
            && own == Array(Arrival.all(5, 0..<5).filter { own.contains($0) }),
          "\(receiver.name): \(arrived)")
      }
      next.close()
    }

    func end() { port.close() }
  }
}
