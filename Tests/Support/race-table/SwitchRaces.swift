import Netmap
import NetmapCore
import TableSupport

/// A sender on a switch, with three receivers.
struct SwitchSendRace: RaceRow {
  let name: String
  /// The destinations of the victim's packets, each a receiver's number or nil for all.
  let packets: [UInt8?]
  /// The source addresses of the victim's packets, in turns.
  var sources: [UInt8] = [TableFrame.victim]
  /// The packets that each receiver has not read when the victim sends.
  var unread: UInt8 = 0
  /// Whether receiver 0 lets no packet be dropped.
  var backpressure = false
  var module = SwitchModuleChoice.learning
  /// Bytes of the virtio-net headers of the sender and of the receivers.
  var headers = (sender: 0, receivers: 0)
  /// Options of the sender's port.
  var options = ""

  static let all = [
    SwitchSendRace(name: "vale tx to one port", packets: [0, 0, 0]),
    SwitchSendRace(name: "vale tx flood", packets: [nil, nil, nil]),
    SwitchSendRace(name: "vale tx flood, full rings", packets: [nil, nil, nil], unread: 61),
    SwitchSendRace(name: "vale tx lists", packets: [0, 1, nil, 2, 0, 1, nil, 2], unread: 3),
    SwitchSendRace(
      name: "vale tx runs", packets: [UInt8?](repeating: 1, count: 20),
      sources: [TableFrame.victim, 0x78]),
    SwitchSendRace(
      name: "vale tx backpressure", packets: [0, 1, nil, 0], unread: 61, backpressure: true),
    SwitchSendRace(
      name: "vale tx filter module", packets: [0, 1, nil],
      module: .filter(rules: "default allow")),
    SwitchSendRace(name: "vale tx hub module", packets: [0, 1], module: .hub),
    SwitchSendRace(name: "vale tx headers 10", packets: [0, nil], headers: (10, 0)),
    SwitchSendRace(name: "vale tx headers 12", packets: [0, nil], headers: (0, 12)),
    SwitchSendRace(name: "vale tx offsets", packets: [0, nil], options: "@offset:initial=64"),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let sender = try NetmapPort("vale7:raced@conf:slots=64" + options, engine: engine)
    let receivers = try (0..<3).map {
      try NetmapPort(
        "vale7:r\($0)@conf:slots=64" + (backpressure && $0 == 0 ? "@backpressure" : ""),
        engine: engine)
    }
    let other = try NetmapPort("vale7:other@conf:slots=64", engine: engine)
    if module != .learning { try engine.switches.setModule(module, of: "vale7") }
    for (number, port) in receivers.enumerated() {
      try port.inject(
        TableFrame.bytes(from: 1 + UInt8(number), 0, to: 99, source: 1 + UInt8(number)))
      try port.sync(.transmit)
    }
    for port in receivers + [other] { _ = try port.take() }
    if unread > 0 {
      for index in receivers.indices { try other.send(from: 5, 0..<unread, to: 1 + UInt8(index)) }
    }
    if headers.sender > 0 { try sender.setVirtioNetHeader(headers.sender) }
    if headers.receivers > 0 {
      for port in receivers { try port.setVirtioNetHeader(headers.receivers) }
    }
    for (number, target) in packets.enumerated() {
      try sender.inject(
        [UInt8](repeating: 0, count: headers.sender)
          + TableFrame.bytes(
            from: TableFrame.victim, UInt8(number), to: target.map { $0 + 1 },
            source: sources[number % sources.count]))
    }
    return RaceOperation {
      try sender.sync(.transmit)
      let sender = sender
      let room = UInt64(sender.transmitRing(0).space)
      withExtendedLifetime((receivers, other)) {}
      return room
    }
  }
}

/// A receiver on a switch.
struct SwitchReceiveRace: RaceRow {
  let name: String
  let backpressure: Bool

  static let all = [
    SwitchReceiveRace(name: "vale rx", backpressure: false),
    SwitchReceiveRace(name: "vale rx, senders wait", backpressure: true),
  ]

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let receiver = try NetmapPort(
      "vale7:raced@conf:slots=64" + (backpressure ? "@backpressure" : ""), engine: engine)
    let sender = try NetmapPort("vale7:other", engine: engine)
    try sender.send(from: 5, 0..<(backpressure ? 70 : 3))
    return RaceOperation {
      defer { withExtendedLifetime(sender) {} }
      return try receiver.receiveAll()
    }
  }
}
