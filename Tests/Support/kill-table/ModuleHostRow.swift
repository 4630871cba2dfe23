import CTrace
import Glibc
import Netmap

/// The process in which a switch's module runs is killed at each instruction, from the arrival of packets until it
/// sleeps again.
///
/// Expected: the packets in its ring may be lost, later ones arrive by the switch's fallback, other ports lose
/// nothing, and the next host works.
struct ModuleHostRow: AttackRow {
  let name = "module host"
  let lengthMax = 200_000
  let spacing = 7

  func bench(_ daemonPath: String) throws -> any AttackBench { try Bench(self, daemonPath) }

  private final class Bench: AttackBench {
    let testbed: TableTestbed
    let library: String
    let sender: NetmapPort
    let receiver: NetmapPort
    let others: [NetmapPort]

    init(_ row: ModuleHostRow, _ daemonPath: String) throws {
      library =
        daemonPath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        .joined(separator: "/") + "/libport-guard.so"
      testbed = try TableTestbed([row], program: daemonPath)
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
      // The host works.
      try sender.send(from: 4, 0..<1)
      try expectArrivals([Arrival(4, 0)], within: .seconds(2))
      try Traced.seize(host)
      try sender.send(from: 5, 0..<3)
      var done = 0
      while done < count {
        guard ctrace_begin_step(host) == 0 else { throw TableError("ptrace: errno \(errno)") }
        guard Traced.stops(host, milliseconds: 20) else { break }
        done += 1
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
      let early = try receiver.take()
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
