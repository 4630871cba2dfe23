internal import NetmapCore

/// What a port has done.
///
/// Ring counters belong to the port's rings, so they include what other bindings of the same rings
/// did; the waits are this binding's own.
public struct PortStatistics: Hashable, Sendable {
  /// The transmit rings together.
  public var transmit = RingCounters()
  /// The receive rings together.
  public var receive = RingCounters()
  /// Times ``Port/wait(for:timeout:)`` went to sleep.
  public var sleeps: UInt64 = 0
  /// System calls that waiting took.
  public var waitSystemCalls: UInt64 = 0

  public init() {}

  /// All system calls on behalf of the port: waits, wake-ups, and what its backend needed.
  public var systemCalls: UInt64 {
    transmit.systemCalls + receive.systemCalls + waitSystemCalls
  }
}
