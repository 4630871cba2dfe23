import Glibc
import Netmap
import NetmapCore
import TableSupport

/// Sends every packet to all other ports.
private struct FloodingModule: SwitchModule {
  static var name: String { "flooding" }

  init(configuration: String = "") throws(NetmapError) {}

  func lookup(_ batch: borrowing SwitchBatch) { batch.route { _ in .broadcast } }
}

/// The process in which a switch's module runs, and netmapd's view of it.
struct ModuleHostRace: RaceRow {
  let name: String
  let part: Part

  enum Part {
    /// The host takes packets out of its ring and delivers them.
    case packets
    /// The host looks at the ports and publishes the module's statistics.
    case reports
    /// netmapd reads the statistics.
    case listing
  }

  static let all = [
    ModuleHostRace(name: "module host: packets", part: .packets),
    ModuleHostRace(name: "module host: reports", part: .reports),
    ModuleHostRace(name: "netmapd: report of a module", part: .listing),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let sender = try EnginePort(engine, "vale7:raced")
    let other = try EnginePort(engine, "vale7:other")
    let port = try EnginePort(engine, "vale7:host", extensions: .moduleHost)
    let forwarder = try HostedForwarder(port.mapped, module: LoadedModule(FloodingModule()))
    _ = try engine.redirect(
      engine.serial(ofSwitch: "vale7"), to: forwarder.index, name: FloodingModule.name,
      process: getpid(), as: .loaded(path: "/flooding"))
    sender.send(3)
    forwarder.report()
    return RaceOperation {
      defer { withExtendedLifetime((sender, other, port)) {} }
      switch part {
      case .packets:
        return UInt64(forwarder.turn())
      case .reports:
        forwarder.notePorts()
        forwarder.report()
        return forwarder.isInUse ? 1 : 0
      case .listing:
        let report = try engine.answer(.module("vale7", .report)).module
        return UInt64(report?.statistics.count ?? 0)
      }
    }
  }
}

/// An application that takes packets with their buffers out of a ring and gives the buffers back.
struct KeepRace: RaceRow {
  let name = "keep packets"

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let sender = try NetmapPort("netmap:raced{1@conf:slots=64", engine: engine)
    let receiver = try NetmapPort("netmap:raced}1@conf:slots=64", extraBuffers: 4, engine: engine)
    try sender.send(from: TableFrame.victim, 0..<3)
    return RaceOperation {
      try receiver.sync(.receive)
      var kept: UInt64 = 0
      do {
        var ring = receiver.receiveRing(0)
        // A packet gives its buffer back when it ends, also where a later one cannot be kept.
        for _ in 0..<3 {
          guard let packet = try ring.keepNext() else { break }
          kept += 1
          _ = consume packet
        }
      }
      try receiver.sync(.receive)
      withExtendedLifetime(sender) {}
      return kept
    }
  }
}
