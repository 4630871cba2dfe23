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
