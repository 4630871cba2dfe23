import Netmap
import TableSupport

/// A sender on a pipe, whose sync copies the packets to a monitor.
struct MonitoredSendRace: RaceRow {
  let name = "pipe tx, monitored"

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let pipe = try RacedPipe(engine, monitor: "netmap:raced{1/t")
    try pipe.queue(0..<3)
    return pipe.sending()
  }
}

/// A receiver on a pipe, whose sync copies the packets to a monitor, and the process that reads the monitor.
struct MonitoredReceiveRace: RaceRow {
  let name: String
  /// Whether the operation is the monitor's.
  let reads: Bool

  static let all = [
    MonitoredReceiveRace(name: "pipe rx, monitored", reads: false),
    MonitoredReceiveRace(name: "monitor rx", reads: true),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let pipe = try RacedPipe(engine, monitor: "netmap:raced}1/r")
    try pipe.sender.send(from: TableFrame.victim, 1..<4)
    guard reads, let monitor = pipe.monitor else { return pipe.receiving(pipe.receiver) }
    try pipe.receiver.sync(.receive)
    return pipe.receiving(monitor)
  }
}

/// A process on a pipe, whose sync gives the buffers of a ring to a monitor without copies.
struct ExchangedRace: RaceRow {
  let name: String
  /// Whether the sync is that of a receive ring.
  let receives: Bool

  static let all = [
    ExchangedRace(name: "pipe tx, exchanged", receives: false),
    ExchangedRace(name: "pipe rx, exchanged", receives: true),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let sender = try NetmapPort("netmap:raced{1@conf:slots=64", engine: engine)
    let receiver = try NetmapPort("netmap:raced}1@conf:slots=64", engine: engine)
    let monitor = try NetmapPort(
      "netmap:raced\(receives ? "}" : "{")1/z@conf:slots=64", engine: engine)
    // The first exchange maps the monitor's memory.
    try sender.send(from: TableFrame.victim, 0..<1)
    _ = try receiver.take()
    try sender.sync(.transmit)
    _ = try monitor.take()
    try sender.send(from: TableFrame.victim, 1..<4)
    if receives {
      return RaceOperation {
        try receiver.sync(.receive)
        let count = try receiver.readAll()
        try receiver.sync(.receive)
        withExtendedLifetime((sender, monitor)) {}
        return count
      }
    }
    _ = try receiver.take()
    return RaceOperation {
      try sender.sync(.transmit)
      let sender = sender
      let room = UInt64(sender.transmitRing(0).space)
      withExtendedLifetime((receiver, monitor)) {}
      return room
    }
  }
}
