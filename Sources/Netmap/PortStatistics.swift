internal import NetmapCore

/// Counters of a port.
///
/// Ring counters belong to the port's rings, so they include the work of other bindings of the same
/// rings. The wait counters are this binding's own.
public struct PortStatistics: Hashable, Sendable {
  /// The sum over the transmit rings.
  public var transmit = RingCounters()
  /// The sum over the receive rings.
  public var receive = RingCounters()
  /// Number of times that `NetmapPort.wait(for:timeout:)` went to sleep.
  public var sleeps: UInt64 = 0
  /// Number of system calls for waiting.
  public var waitSystemCalls: UInt64 = 0

  public init() {}

  /// All system calls for the port: for waits, for wake-ups, and by its backend.
  public var systemCalls: UInt64 {
    transmit.systemCalls + receive.systemCalls + waitSystemCalls
  }
}
