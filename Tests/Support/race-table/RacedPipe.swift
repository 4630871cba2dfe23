import Netmap
import TableSupport

/// A pipe of the rows, and a monitor of one of its ends.
struct RacedPipe {
  let sender: NetmapPort
  let receiver: NetmapPort
  let monitor: NetmapPort?

  private static let slots = "@conf:slots=64"

  /// - Parameters:
  ///   - engine: The engine of the row's daemon.
  ///   - options: Further options of both ends.
  ///   - monitor: The name of the monitor; nil for none. Its memory is mapped by a first packet, number 0.
  /// - Throws: An error when a port cannot be opened.
  init(_ engine: HostEngine, options: String = "", monitor: String? = nil) throws {
    sender = try NetmapPort("netmap:raced{1\(Self.slots)\(options)", engine: engine)
    receiver = try NetmapPort("netmap:raced}1\(Self.slots)\(options)", engine: engine)
    self.monitor = try monitor.map { try NetmapPort("\($0)\(Self.slots)", engine: engine) }
    guard let port = self.monitor else { return }
    try sender.send(from: TableFrame.victim, 0..<1)
    for port in [receiver, port] { _ = try port.take() }
  }

  /// Puts packets into the sender's ring.
  func queue(_ numbers: Range<UInt8>) throws {
    for number in numbers { try sender.inject(TableFrame.bytes(from: TableFrame.victim, number)) }
  }

  /// The sync that sends the queued packets.
  func sending() -> RaceOperation {
    RaceOperation {
      try sender.sync(.transmit)
      let port = sender
      let room = UInt64(port.transmitRing(0).space)
      withExtendedLifetime(self) {}
      return room
    }
  }

  /// The syncs by which the receiver or the monitor takes packets.
  func receiving(_ port: NetmapPort) -> RaceOperation {
    RaceOperation {
      defer { withExtendedLifetime(self) {} }
      return try port.receiveAll()
    }
  }
}
