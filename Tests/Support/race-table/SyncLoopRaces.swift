import Netmap
import NetmapCore
import TableSupport

/// A look of a sync loop at all rings of a port: what it loads from the application's control blocks, from its own, and
/// from what it shares with other processes. The loop begins and ends with the operation.
struct SyncLoopRace: RaceRow {
  let name: String
  /// The port whose rings the loop drives, and the port that it exchanges packets with.
  let port: String
  let other: String
  /// Whether the loop asks for kicks before it sleeps, and wakes the application by eventfds.
  let isNotified: Bool

  static let all = [
    SyncLoopRace(
      name: "sync loop, pipe", port: "raced{1", other: "raced}1", isNotified: false),
    SyncLoopRace(
      name: "sync loop with eventfds, pipe", port: "raced{1", other: "raced}1",
      isNotified: true),
    SyncLoopRace(
      name: "sync loop with eventfds, vale", port: "vale7:raced", other: "vale7:other",
      isNotified: true),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let port = try EnginePort(engine, port, flags: .exclusive)
    let other = try EnginePort(engine, other)
    let blocks = try LoopBlocks("netmap-csb", of: port.mapped)
    let (mapped, tag) = (port.mapped, port.tag)
    let settings = try LoopBlocks.settings(of: mapped, isNotified: isNotified)
    let sleeper = isNotified ? Announcement.doorbell(tag.doorbell) : nil
    other.send(3)
    try blocks.loop(mapped, tag, settings).lookOnce(sleeper)
    // The application has read two of three packets. It sends three, and more arrive.
    blocks.move(LoopBlocks.receive, to: 2)
    port.fill(3)
    blocks.move(LoopBlocks.transmit, to: 3)
    other.send(2)
    return RaceOperation {
      try blocks.loop(mapped, tag, settings).lookOnce(sleeper)
      withExtendedLifetime((port, other)) {}
      return blocks.shown
    }
  }
}
