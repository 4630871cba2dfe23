import Glibc
import Netmap
import ProcessFiles
import TableSupport

/// Rows in which a helper sleeps until packets arrive.
///
/// Words of the board: 0 the sleeps that have ended, 1 the packets that the helper has taken.
private enum Sleeping {
  /// Sleeps and takes packets, without end.
  static func receive(_ port: NetmapPort, _ board: TableBoard) throws -> Never {
    while true {
      board[2] = 1
      try port.wait(for: .receive, timeout: .seconds(20))
      board[0] &+= 1
      board[1] &+= UInt64(try port.take().count)
    }
  }

  /// The longest time after a death until the daemon has woken a sleeper.
  static let patience = 500

  /// Waits until a process sleeps.
  static func awaitSleep(of process: pid_t) throws {
    let end = ContinuousClock.now + .seconds(5)
    var times = 0
    while times < 3 {
      guard ContinuousClock.now < end else { throw TableError("the helper does not sleep") }
      times = state(of: process) == "S" ? times + 1 : 0
      usleep(50)
    }
  }

  private static func state(of process: pid_t) -> Character? {
    ProcessFiles.text("/proc/\(process)/stat").split(separator: ")").last?
      .first { $0 != " " }
  }
}

/// A sender that has to wake a receiver. No packet may stay with a receiver that sleeps.
struct WakeRow: KillRowWithHelper {
  let name: String
  let receiver: String
  let sender: String

  static let all = [
    WakeRow(name: "pipe tx, receiver sleeps", receiver: "netmap:slept}1", sender: "netmap:slept{1"),
    WakeRow(name: "vale tx, receiver sleeps", receiver: "vale7:slept", sender: "vale7:killed"),
  ]

  func helper(_ engine: HostEngine, _ board: TableBoard) throws {
    try Sleeping.receive(try NetmapPort(receiver, engine: engine), board)
  }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort(sender, engine: engine)
    for number in 0..<3 as Range<UInt8> {
      try port.inject(TableFrame.bytes(from: TableFrame.victim, number))
    }
    return { try port.sync(.transmit) }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: WakeRow
    let testbed: TableTestbed
    let helper: pid_t
    /// The sleeping receiver's port, to look at its ring.
    let watch: NetmapPort

    init(_ row: WakeRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      testbed.board[2] = 0
      helper = try testbed.startHelper()
      try expect(testbed.board.wait(5000) { $0[2] == 1 }, "no helper: \(testbed.board.text)")
      watch = try NetmapPort(row.receiver, engine: testbed.engine)
    }

    func arm() throws {
      testbed.board[1] = 0
      try Sleeping.awaitSleep(of: helper)
    }

    func verify(_ mode: KillMode) throws {
      try testbed.expectSound()
      try Sleeping.awaitSleep(of: helper)
      let before = testbed.board[1]
      try expect(before <= 3 && (mode != .stop || before == 3), "\(before) packets arrived")
      try watch.sync(.receive)
      let watch = watch
      let unseen = watch.receiveRing(0).count
      try expect(unseen == 0, "the receiver sleeps while it has \(unseen) packets")
      let next = try NetmapPort(row.sender, engine: testbed.engine)
      try next.send(from: 5, 0..<2)
      // The next owner of a pipe's end also sends what the victim has put into the ring.
      _ = testbed.board.wait(Sleeping.patience) { $0[1] >= before + 2 }
      try Sleeping.awaitSleep(of: helper)
      let after = testbed.board[1]
      try expect(
        after >= before + 2 && after <= 5,
        "the receiver got \(after - before) of 2 packets: \(testbed.board.text)")
      next.close()
    }

    func end() {
      watch.close()
      testbed.endHelper(helper)
    }
  }
}

/// A process that begins to sleep on a ring on which another one sleeps. The other one must not lose its wake-up.
struct SecondSleeperRow: KillRowWithHelper {
  let name = "sleep beside a sleeper"

  func helper(_ engine: HostEngine, _ board: TableBoard) throws {
    try Sleeping.receive(try NetmapPort("netmap:slept}1", engine: engine), board)
  }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort("netmap:slept}1", engine: engine)
    return { try port.wait(for: .receive, timeout: .milliseconds(1)) }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(testbed) }

  private final class Scene: KillScene {
    let testbed: TableTestbed
    let helper: pid_t
    let sender: NetmapPort

    init(_ testbed: TableTestbed) throws {
      self.testbed = testbed
      testbed.board[2] = 0
      helper = try testbed.startHelper()
      try expect(testbed.board.wait(5000) { $0[2] == 1 }, "no helper: \(testbed.board.text)")
      sender = try NetmapPort("netmap:slept{1", engine: testbed.engine)
    }

    /// The packets that have been sent since the beginning of a point.
    var sent: UInt64 = 0

    func arm() throws {
      testbed.board[1] = 0
      sent = 0
      try Sleeping.awaitSleep(of: helper)
    }

    // A process that is stopped in a sync keeps the lock of the ring, which the other sleeper shares. So the packet
    // need not arrive before the end of the victim.
    func meanwhile() throws { try testbed.hold { try send() } }

    private func send() throws {
      try sender.send(from: 5, 0..<1)
      sent += 1
    }

    private func expectAwake() throws {
      let sent = sent
      try expect(
        testbed.board.wait(Sleeping.patience) { $0[1] >= sent },
        "the other sleeper got \(testbed.board[1]) of \(sent) packets: \(testbed.board.text)")
    }

    func verify(_ mode: KillMode) throws {
      if sent == 0 { try send() }
      try testbed.expectSound()
      try expectAwake()
      try Sleeping.awaitSleep(of: helper)
      try send()
      try expectAwake()
    }

    func end() {
      sender.close()
      testbed.endHelper(helper)
    }
  }
}

/// A receiver that gives back slots for which a sender sleeps.
struct RoomRow: KillRowWithHelper {
  let name: String
  let receiver: String
  let sender: String

  static let all = [
    RoomRow(
      name: "pipe rx, sender sleeps", receiver: "netmap:slept}1@conf:slots=64",
      sender: "netmap:slept{1@conf:slots=64"),
    RoomRow(
      name: "vale rx, sender sleeps", receiver: "vale7:killed@conf:slots=64@backpressure",
      sender: "vale7:slept@conf:slots=64"),
  ]

  private var isPipe: Bool { sender.hasPrefix("netmap:") }

  func helper(_ engine: HostEngine, _ board: TableBoard) throws {
    let port = try NetmapPort(sender, engine: engine)
    board[2] = 1
    let frame = TableFrame.bytes(from: 5, 0)
    while true {
      // Without a receiver the packets of a switch are dropped, so the helper sends only when it is asked to.
      while !isPipe, board[3] == 0 { usleep(100) }
      while (try? port.inject(frame)) != nil {}
      try port.wait(for: .transmit, timeout: .seconds(20))
      board[0] &+= 1
    }
  }

  func victim(_ engine: HostEngine) throws -> VictimOperation {
    let port = try NetmapPort(receiver, engine: engine)
    return {
      try port.sync(.receive)
      do {
        var ring = port.receiveRing(0)
        for _ in 0..<4 { _ = ring.next() }
      }
      try port.sync(.receive)
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try Scene(self, testbed) }

  private final class Scene: KillScene {
    let row: RoomRow
    let testbed: TableTestbed
    let helper: pid_t

    init(_ row: RoomRow, _ testbed: TableTestbed) throws {
      self.row = row
      self.testbed = testbed
      (testbed.board[2], testbed.board[3]) = (0, 0)
      helper = try testbed.startHelper()
      try expect(testbed.board.wait(5000) { $0[2] == 1 }, "no helper: \(testbed.board.text)")
    }

    func arm() throws {
      testbed.board[3] = 1
      usleep(300)
      try Sleeping.awaitSleep(of: helper)
    }

    func verify(_ mode: KillMode) throws {
      testbed.board[3] = 0
      try testbed.expectSound()
      let next = try NetmapPort(row.receiver, engine: testbed.engine)
      testbed.board[3] = row.isPipe ? 0 : 1
      // The sender goes on as soon as there is room.
      for _ in 0..<3 {
        var count = 0
        let end = ContinuousClock.now + .milliseconds(Sleeping.patience)
        while count == 0, ContinuousClock.now < end {
          count = try next.take().count
          if count == 0 { usleep(50) }
        }
        try expect(count > 0, "the sender does not go on: \(testbed.board.text)")
      }
      testbed.board[3] = 0
      next.close()
    }

    func end() { testbed.endHelper(helper) }
  }
}
