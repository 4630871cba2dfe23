import Glibc
import Netmap
import NetmapCore
import TableSupport

/// A process that begins to sleep until packets or room arrive, or that looks at its counters.
struct WaitRace: RaceRow {
  let name: String
  let sender: String
  let receiver: String
  var readsCounters = false

  static let all = [
    WaitRace(name: "wait, pipe", sender: "netmap:raced{1", receiver: "netmap:raced}1"),
    WaitRace(name: "wait, switch", sender: "vale7:other", receiver: "vale7:raced"),
    WaitRace(
      name: "statistics, pipe", sender: "netmap:raced{1", receiver: "netmap:raced}1",
      readsCounters: true),
    WaitRace(
      name: "statistics, switch", sender: "vale7:other", receiver: "vale7:raced",
      readsCounters: true),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let sender = try NetmapPort("\(sender)@conf:slots=64", engine: engine)
    let receiver = try NetmapPort("\(receiver)@conf:slots=64", engine: engine)
    if readsCounters {
      try sender.send(from: 5, 0..<3)
      return RaceOperation {
        let found = [sender.statistics, receiver.statistics]
        return found.reduce(0) { $0 &+ $1.receive.packets &+ $1.transmit.packets &+ $1.systemCalls }
      }
    }
    return RaceOperation {
      let ready = try receiver.wait(for: .receive, timeout: .microseconds(20))
      withExtendedLifetime(sender) {}
      return ready.isEmpty ? 0 : 1
    }
  }
}

/// A process that wakes a thread which sleeps on its ring.
struct WakeRace: RaceRow {
  let name: String
  let sender: String
  let receiver: String
  /// Words in which more sleepers announce themselves than there are.
  var presets: [String: UInt64] = [:]

  static let all = [
    WakeRace(name: "wake, pipe", sender: "netmap:raced{1", receiver: "netmap:raced}1"),
    WakeRace(name: "wake, switch", sender: "vale7:raced", receiver: "vale7:other"),
    WakeRace(
      name: "wake several, pipe", sender: "netmap:raced{1", receiver: "netmap:raced}1",
      presets: [
        "raced1{.tx.waitWord": 0xffff_ffff, "raced1}.rx.waitWord": 0xffff_ffff,
        "raced1 waiters": 0xc000_0000,
      ]),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let sender = try NetmapPort("\(sender)@conf:slots=64", engine: engine)
    nonisolated(unsafe) let receiver = try NetmapPort("\(receiver)@conf:slots=64", engine: engine)
    for number in 0..<3 as Range<UInt8> {
      try sender.inject(TableFrame.bytes(from: TableFrame.victim, number))
    }
    // The thread announces itself once. The tracer restores the announcement before each operation.
    _ = try EngineThread.start("race-sleeper") {
      _ = try? unsafe receiver.wait(for: .receive)
      while true { pause() }
    }
    usleep(50_000)
    return RaceOperation {
      try sender.sync(.transmit)
      let sender = sender
      return UInt64(sender.transmitRing(0).space)
    }
  }
}
