import Netmap
import TableSupport

/// A sender or a receiver on a pipe.
struct PipeRace: RaceRow {
  let name: String
  let isSender: Bool
  var options = ""

  static let all = [
    PipeRace(name: "pipe tx", isSender: true),
    PipeRace(name: "pipe rx", isSender: false),
    PipeRace(name: "pipe tx, offsets", isSender: true, options: "@offset:initial=64"),
    PipeRace(name: "pipe rx, offsets", isSender: false, options: "@offset:initial=64"),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let pipe = try RacedPipe(engine, options: options)
    try pipe.queue(0..<3)
    if isSender { return pipe.sending() }
    try pipe.sender.sync(.transmit)
    return pipe.receiving(pipe.receiver)
  }
}

/// A forwarder, which exchanges buffers between two pipes of one region.
struct ForwardRace: RaceRow {
  let name = "forward by swap"

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let feeder = try NetmapPort("netmap:raced{1@conf:slots=64", engine: engine)
    let source = try NetmapPort("netmap:raced}1@conf:slots=64", engine: engine)
    let target = try NetmapPort("netmap:raced{2@conf:slots=64", engine: engine)
    let sink = try NetmapPort("netmap:raced}2@conf:slots=64", engine: engine)
    try expect(source.sharesMemory(with: target), "two regions")
    for number in 0..<3 as Range<UInt8> {
      try feeder.inject(TableFrame.bytes(from: TableFrame.victim, number))
    }
    try feeder.sync(.transmit)
    try source.sync(.receive)
    return RaceOperation {
      do {
        var input = source.receiveRing(0)
        var output = target.transmitRing(0)
        input.forward(to: &output)
      }
      try target.sync(.transmit)
      try source.sync(.receive)
      let target = target
      let room = UInt64(target.transmitRing(0).space)
      withExtendedLifetime((feeder, sink)) {}
      return room
    }
  }
}
