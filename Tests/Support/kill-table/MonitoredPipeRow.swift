import Netmap
import TableSupport

/// A sender on a pipe whose other end has a monitor. Other processes receive and read the monitor.
struct MonitoredPipeRow: KillRow {
  let name = "pipe tx, monitored"

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("netmap:killed{1", engine: engine)
    // The first sync maps the monitor's memory, which takes a hundred times as long as the copy.
    try port.send(from: 7, 0..<1)
    for number in 0..<3 as Range<UInt8> {
      try port.inject(TableFrame.bytes(from: TableFrame.victim, number))
    }
    return { try port.sync(.transmit) }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let receiver: NetmapPort
    /// Of both directions of the receiver, so that the receiver fills the monitor's ring, too.
    let monitor: NetmapPort
    var early: [Arrival] = []
    var seen: [Arrival] = []
    var sentBack: [Arrival] = []
    var refusedBefore: UInt64 = 0

    init(_ testbed: TableTestbed) throws {
      self.testbed = testbed
      receiver = try NetmapPort("netmap:killed}1", engine: testbed.engine)
      monitor = try NetmapPort("netmap:killed}1/rt", engine: testbed.engine)
    }

    private var refused: UInt64 { monitor.statistics.receive.drops[.busy] }

    func arm() throws {
      for port in [receiver, monitor] {
        let arrived = try port.take()
        try expect(arrived == [Arrival(7, 0)], "\(port.name): before the operation: \(arrived)")
      }
    }

    func meanwhile() throws {
      early = try testbed.hold { try receiver.take() }
      sentBack = [Arrival(6, 0)]
      // The victim may stand in the middle of its copy: then this packet is counted as refused.
      try testbed.hold { try receiver.send(from: 6, 0..<1) }
      seen = try testbed.hold { try monitor.take() }
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      let next = try NetmapPort("netmap:killed{1", engine: testbed.engine)
      // The first sync completes the victim's, without a packet of its own.
      try next.sync(.transmit)
      let first = early + (try receiver.take())
      try next.send(from: 5, 0..<2)
      let arrived = first + (try receiver.take())
      try expectExact(
        arrived, others: [Arrival.all(5, 0..<2)], most: 3, all: mode == .stop, receiver.name)
      let back = try next.take()
      try expect(back == sentBack, "\(next.name): \(back)")
      seen += try monitor.take()
      try check(arrived.filter { $0.sender == TableFrame.victim }, mode)
      next.close()
      (early, seen, sentBack, refusedBefore) = ([], [], [], refused)
    }

    /// Checks what the monitor has got: the victim's packets once, or, if it was killed between the copy and the send,
    /// twice; those of the others exactly, except for counted ones.
    private func check(_ sent: [Arrival], _ mode: KillMode) throws {
      let all = Arrival.all(TableFrame.victim, 0..<3)
      let copied = seen.filter { $0.sender == TableFrame.victim }
      try expect(
        copied == all || mode != .stop && (copied == all + all || copied.isEmpty && sent.isEmpty),
        "\(monitor.name): the victim's packets: \(seen)")
      let others = seen.filter { $0.sender == 5 }
      try expect(others == Arrival.all(5, 0..<2), "\(monitor.name): of the next sender: \(seen)")
      let returned = seen.filter { $0.sender == 6 }
      let lost = refused - refusedBefore
      try expect(
        returned == sentBack && lost == 0 || returned.isEmpty && lost == UInt64(sentBack.count),
        "\(monitor.name): of the receiver: \(seen), \(lost) refused")
      try expect(
        seen.count == copied.count + others.count + returned.count, "\(monitor.name): \(seen)")
    }

    func end() {
      monitor.close()
      receiver.close()
    }
  }
}
