import Netmap
import TableSupport

/// A sender on a pipe. Another process receives.
struct PipeSendRow: KillRow {
  let name = "pipe tx"

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("netmap:killed{1", engine: engine)
    for number in 0..<3 as Range<UInt8> {
      try port.inject(TableFrame.bytes(from: TableFrame.victim, number))
    }
    return { try port.sync(.transmit) }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let receiver: NetmapPort
    var early: [Arrival] = []

    init(_ testbed: TableTestbed) throws {
      self.testbed = testbed
      receiver = try NetmapPort("netmap:killed}1", engine: testbed.engine)
    }

    func meanwhile() throws { early = try testbed.hold { try receiver.take() } }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      let next = try NetmapPort("netmap:killed{1", engine: testbed.engine)
      // The first sync completes the victim's, without a packet of its own.
      try next.sync(.transmit)
      let first = early + (try receiver.take())
      early = []
      try next.send(from: 5, 0..<2)
      let rest = try receiver.take()
      try expect(
        rest == Arrival.all(5, 0..<2), "\(receiver.name): after the first sync: \(rest)")
      let arrived = first + rest
      try expectExact(
        arrived, others: [Arrival.all(5, 0..<2)], most: 3, all: mode == .stop, receiver.name)
      next.close()
    }

    func end() { receiver.close() }
  }
}

/// A receiver on a pipe with three packets, of which it has read one. Another process sends.
struct PipeReceiveRow: KillRow {
  let name = "pipe rx"

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("netmap:killed}1", engine: engine)
    try port.sync(.receive)
    do {
      var ring = port.receiveRing(0)
      guard ring.next() != nil else { throw TableError("no packet") }
    }
    return { try port.sync(.receive) }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let sender: NetmapPort
    var sent: UInt8 = 0

    init(_ testbed: TableTestbed) throws {
      self.testbed = testbed
      sender = try NetmapPort("netmap:killed{1", engine: testbed.engine)
    }

    func prepare() throws {
      try sender.send(from: 5, 0..<3)
      sent = 3
    }

    func meanwhile() throws {
      try testbed.hold { try sender.send(from: 5, 3..<5) }
      sent = 5
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      let next = try NetmapPort("netmap:killed}1", engine: testbed.engine)
      let all = Arrival.all(5, 0..<sent)
      // The first sync completes the victim's, without a slot of its own.
      try next.sync(.receive)
      try sender.sync(.transmit)
      let (port, other) = (sender, next)
      let output = port.transmitRing(0)
      let unread = other.receiveRing(0).count
      let (room, slots) = (output.space, output.slotCount)
      try expect(
        room + unread == slots - 1, "\(port.name): room for \(room), \(unread) unread, of \(slots)")
      let arrived = try next.take()
      try expect(
        mode == .stop
          ? arrived == Array(all.dropFirst()) : arrived == all || arrived == Array(all.dropFirst()),
        "\(next.name): \(arrived)")
      try sender.send(from: 6, 9..<10)
      let last = try next.take()
      try expect(last == [Arrival(6, 9)], "\(next.name): \(last)")
      next.close()
    }

    func end() { sender.close() }
  }
}

/// A forwarder, which exchanges buffers between two pipes of one region. Other processes send and receive.
struct ForwardRow: KillRow {
  /// Whether the forwarder is the first user of its rings. A note of an exchange then has no earlier contents.
  let isFirst: Bool

  var name: String { isFirst ? "forward by swap, new rings" : "forward by swap" }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let source = try NetmapPort("netmap:killed}1", engine: engine)
    let target = try NetmapPort("netmap:killed{2", engine: engine)
    guard source.sharesMemory(with: target) else { throw TableError("two regions") }
    // The heads of the two rings differ from each other and from those in an empty note.
    if isFirst { try target.send(from: 7, 0..<1) }
    try source.sync(.receive)
    return {
      do {
        var input = source.receiveRing(0)
        var output = target.transmitRing(0)
        input.forward(to: &output)
      }
      try target.sync(.transmit)
      try source.sync(.receive)
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed, isFirst) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let isFirst: Bool
    var feeder: NetmapPort
    var sink: NetmapPort
    var early: [Arrival] = []
    var fed: UInt8 = 0

    init(_ testbed: TableTestbed, _ isFirst: Bool) throws {
      self.testbed = testbed
      self.isFirst = isFirst
      feeder = try NetmapPort("netmap:killed{1", engine: testbed.engine)
      sink = try NetmapPort("netmap:killed}2", engine: testbed.engine)
    }

    func prepare() throws {
      if isFirst {
        // Nobody else has them open, so the pipes end here, and the victim gets new rings.
        end()
        feeder = try NetmapPort("netmap:killed{1", engine: testbed.engine)
        sink = try NetmapPort("netmap:killed}2", engine: testbed.engine)
      }
      try feeder.send(from: 5, 0..<3)
      fed = 3
    }

    func meanwhile() throws {
      early = try testbed.hold {
        try feeder.send(from: 5, 3..<5)
        return try sink.take()
      }
      fed = 5
    }

    func verify(_ mode: KillMode) throws {
      // The victim's unread packets stay in the ring when the pipe is still open at its other end, so the next
      // forwarder passes them on.
      try testbed.expectSound()
      let source = try NetmapPort("netmap:killed}1", engine: testbed.engine)
      let target = try NetmapPort("netmap:killed{2", engine: testbed.engine)
      let arrived = early + (try pass(source, target))
      early = []
      let expected = (isFirst ? [Arrival(7, 0)] : []) + Arrival.all(5, 0..<fed)
      try expect(arrived == expected, "\(sink.name): \(arrived)")
      try feeder.send(from: 6, 9..<10)
      let last = try pass(source, target)
      try expect(last == [Arrival(6, 9)], "\(sink.name): \(last)")
      source.close()
      target.close()
    }

    private func pass(_ source: NetmapPort, _ target: NetmapPort) throws -> [Arrival] {
      try source.sync(.receive)
      do {
        var input = source.receiveRing(0)
        var output = target.transmitRing(0)
        input.forward(to: &output)
      }
      try target.sync(.transmit)
      try source.sync(.receive)
      return try sink.take()
    }

    func end() {
      feeder.close()
      sink.close()
    }
  }
}

/// A row whose check fails at every point, for the test of the table itself.
struct SelfTestRow: KillRow {
  let name = "self-test"
  private let row = PipeSendRow()

  func victim(_ engine: HostEngine) throws -> VictimOperation { try row.victim(engine) }

  func scene(_ testbed: TableTestbed) throws -> any KillScene {
    Scene(try row.scene(testbed))
  }

  private final class Scene: KillScene {
    let scene: any KillScene
    var points = 0

    init(_ scene: any KillScene) { self.scene = scene }

    func verify(_ mode: KillMode) throws {
      try scene.verify(mode)
      points += 1
      // The operation is measured by two victims first.
      try expect(points <= 2, "a failure for the test of the table")
    }

    func end() { scene.end() }
  }
}
