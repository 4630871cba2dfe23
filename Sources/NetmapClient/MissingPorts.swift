/// The ports of switches whose memory the daemon has sent to this process, and which this process could not receive or map:
/// it had no descriptor or no address space left.
///
/// A sync that meets such a port drops the packets for it. The process asks for the port again, so that it reaches the port
/// once it has descriptors.
struct MissingPorts {
  private var ports: Set<SwitchTables.Port> = []
  /// When the process may ask, monotonic nanoseconds.
  private var asksAt: UInt64 = 0

  /// The shortest time between two questions, nanoseconds: a process without descriptors loses each answer, and its syncs
  /// can meet the port millions of times a second.
  private static let pause: UInt64 = 20_000_000

  mutating func add(_ port: SwitchTables.Port?) {
    if let port { ports.insert(port) }
  }

  mutating func remove(_ port: SwitchTables.Port?) {
    if let port { ports.remove(port) }
  }

  /// The ports to ask for now. The caller asks: each of them that cannot be received again comes back by ``add(_:)``.
  ///
  /// - Parameter now: The current time, monotonic nanoseconds.
  /// - Returns: Nil if there are none, or if it is too early.
  mutating func take(at now: UInt64) -> Set<SwitchTables.Port>? {
    guard !ports.isEmpty, now >= asksAt else { return nil }
    asksAt = now &+ Self.pause
    defer { ports = [] }
    return ports
  }
}
