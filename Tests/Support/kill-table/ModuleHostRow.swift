import CTrace
import Glibc
import Netmap
import TableSupport

/// The process in which a switch's module runs is killed at each entry and exit of a system call, from the arrival of
/// packets until it has delivered them.
///
/// It cannot be stepped by instruction: netmapd ends a host that makes no progress. It delivers packets as senders do, in
/// the rows of which each instruction is tried.
///
/// Expected: the packets in its ring may be lost, later ones arrive by the switch's fallback, other ports lose
/// nothing, and the next host works.
struct ModuleHostRow: AttackRow {
  let name = "module host"
  let unit = StepUnit.calls
  let lengthMax = 100

  func bench(_ daemonPath: String) throws -> any AttackBench { try Bench(self, daemonPath) }

  private final class Bench: AttackBench {
    let testbed: TableTestbed
    let library: String
    let sender: NetmapPort
    let receiver: NetmapPort
    let others: [NetmapPort]
    /// The packets of this point that have arrived.
    var early: [Arrival] = []

    init(_ row: ModuleHostRow, _ daemonPath: String) throws {
      library =
        daemonPath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        .joined(separator: "/") + "/libport-guard.so"
      testbed = try TableTestbed(program: daemonPath, play: KillPlay.play([row]))
      let engine = testbed.engine
      sender = try NetmapPort("vale7:sender", engine: engine)
      receiver = try NetmapPort("vale7:receiver", engine: engine)
      others = try ["vale8:x", "vale8:y"].map { try NetmapPort($0, engine: engine) }
      try testbed.noteRest()
    }

    func attack(after count: Int) throws -> Int {
      let switches = testbed.engine.switches
      try switches.setModule(.loaded(path: library, configuration: "4"), of: "vale7")
      let host = try switches.module(of: "vale7").process
      try expect(host > 0, "the module has no process")
      // The host works, and has bound the functions that it calls.
      for _ in 0..<3 {
        try sender.send(from: 4, 0..<3)
        try expectArrivals(Arrival.all(4, 0..<3), within: .seconds(2))
        usleep(3000)
      }
      try Traced.seize(host)
      try sender.send(from: 5, 0..<3)
      var done = 0
      early = []
      while done < count {
        guard ctrace_continue(host, 1) == 0 else { throw TableError("ptrace: errno \(errno)") }
        guard Traced.stops(host, milliseconds: 20) else { break }
        done += 1
        // The operation ends with the delivery of the last packet.
        early += try receiver.take()
        if early.count == 3 { break }
      }
      kill(host, SIGKILL)
      Traced.awaitEnd(of: host)
      try verify()
      return done
    }

    private func expectArrivals(_ all: [Arrival], within time: Duration) throws {
      var arrived: [Arrival] = []
      let end = ContinuousClock.now + time
      while arrived.count < all.count, ContinuousClock.now < end {
        arrived += try receiver.take()
        usleep(50)
      }
      try expect(arrived == all, "\(receiver.name): \(arrived)")
    }

    private func verify() throws {
      try testbed.hold {
        try others[0].send(from: 6, 0..<2)
        let arrived = try others[1].take()
        try expect(arrived == Arrival.all(6, 0..<2), "\(others[1].name): \(arrived)")
      }
      try testbed.expectSound()
      early += try receiver.take()
      try expect(
        early == Arrival.all(5, 0..<UInt8(truncatingIfNeeded: early.count)) && early.count <= 3,
        "\(receiver.name): \(early)")
      try sender.send(from: 6, 8..<10)
      let late = try receiver.take()
      try expect(late == Arrival.all(6, 8..<10), "\(receiver.name), by the fallback: \(late)")
    }

    func end() {
      for port in [sender, receiver] + others { port.close() }
    }
  }
}
