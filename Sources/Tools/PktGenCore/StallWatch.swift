/// What a thread waits for.
enum Awaited: UInt8, Hashable {
  case nothing
  /// Room in a transmit ring.
  case room
  /// The departure of the last packets: the run ends when the port has taken them.
  case departure
  /// The first packet.
  case packets
  /// Replies of `ping`.
  case replies
}

/// Detects that a run makes no progress, for one message about what it waits for.
///
/// The reporting thread looks at the threads every ``interval``. A run stalls when no packet has moved for
/// ``patience``, and the threads waited whenever the reporting thread looked.
struct StallWatch {
  /// Nanoseconds between two looks.
  static let interval: UInt64 = 500_000_000
  /// Nanoseconds without progress that are worth a message.
  static let patience: UInt64 = 1_000_000_000

  private let interface: InterfaceName
  private var since: UInt64?
  private var packets: UInt64 = 0
  /// Whether the message has been returned, so that no look is needed any more.
  private(set) var isOver = false

  init(_ interface: InterfaceName) {
    self.interface = interface
  }

  /// Records one look.
  ///
  /// - Parameters:
  ///   - awaited: What each running thread waits for.
  ///   - packets: The number of packets that all threads have moved.
  ///   - now: The time of the look, in monotonic nanoseconds.
  /// - Returns: The message, when the run has stalled and the message has not been returned yet.
  mutating func message(_ awaited: [Awaited], packets: UInt64, at now: UInt64) -> String? {
    guard !isOver, let first = awaited.first, !awaited.contains(.nothing) else {
      since = nil
      return nil
    }
    guard let since, packets == self.packets else {
      (self.since, self.packets) = (now, packets)
      return nil
    }
    guard now - since >= Self.patience else { return nil }
    isOver = true
    return text(first)
  }

  private func text(_ awaited: Awaited) -> String {
    let name = interface.text
    return switch awaited {
    case .nothing, .room: "waiting for room in \(name)\(reason)"
    case .departure: "waiting for the last packets to leave \(name)\(reason)"
    case .packets: "waiting for packets on \(name)"
    case .replies: "waiting for replies on \(name)"
    }
  }

  /// The reason why packets stay in the ring, if it is known.
  private var reason: String {
    interface.isPipe ? ": the other end takes no packets" : ""
  }
}
