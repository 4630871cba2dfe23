internal import Synchronization

/// A monitor of a ring, in one word of the ring's kring: where the process that syncs the ring finds the monitor's rings.
///
/// Only the engine stores entries. Every process on the port can write them, so a reader compares each field before use.
struct MonitorEntry: Hashable {
  let rawValue: UInt64

  init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - index: The monitor's index among those of the port, below ``MonitorLimits/perPort``.
  ///   - generation: The monitor's generation, which tells successive monitors with the same index apart; not 0.
  ///   - ring: The monitor's receive ring that gets the packets, below 512.
  ///   - isTransmit: Whether the monitor gets the packets marked as sent (`NS_TXMON`).
  ///   - exchanges: Whether it gets the ring's buffers for its own, instead of copies.
  init(index: Int, generation: UInt32, ring: Int, isTransmit: Bool, exchanges: Bool = false) {
    rawValue =
      UInt64(generation) | UInt64(truncatingIfNeeded: index & 0xff) << 32
      | UInt64(truncatingIfNeeded: ring & 0x1ff) << 40 | (isTransmit ? 1 << 63 : 0)
      | (exchanges ? 1 << 62 : 0)
  }

  /// 0 where there is no monitor.
  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  /// Below ``MonitorLimits/perPort``.
  var index: Int { Int(rawValue >> 32) & (MonitorLimits.perPort - 1) }
  /// Below 512.
  var ring: Int { Int(rawValue >> 40 & 0x1ff) }
  var isTransmit: Bool { rawValue >> 63 != 0 }
  /// Whether the monitor gets the ring's buffers for its own, instead of copies.
  var exchanges: Bool { rawValue >> 62 & 1 != 0 }
}

/// How many monitors there can be.
package enum MonitorLimits {
  /// Monitors of one ring.
  static let perRing = 6
  /// Monitors of one port, or of both ends of a pipe; a power of two.
  static let perPort = 64
}

extension KRing {
  /// The ring's monitor at a place below ``MonitorLimits/perRing``; nil where there is none.
  func monitor(at place: Int) -> MonitorEntry? {
    let entry = unsafe MonitorEntry(rawValue: rawLongWord(KRingLayout.monitors &+ 8 &* place))
    return entry.generation == 0 ? nil : entry
  }

  /// Stores the ring's monitors, at most ``MonitorLimits/perRing``.
  func store(monitors: [MonitorEntry]) {
    for place in 0..<MonitorLimits.perRing {
      unsafe setRawLongWord(
        KRingLayout.monitors + 8 * place, place < monitors.count ? monitors[place].rawValue : 0)
    }
  }

  /// The monitor that exchanges the ring's buffers for its own; nil when there is none.
  var exchangingMonitor: MonitorEntry? {
    for place in 0..<MonitorLimits.perRing {
      if let entry = unsafe monitor(at: place), entry.exchanges { return entry }
    }
    return nil
  }

  /// The end of the slots that a monitor has exchanged.
  ///
  /// - Returns: Nil when no monitor has exchanged any, or when the stored value is not below `count`, the ring's slot
  ///   count.
  func exchangedEnd(below count: UInt32) -> UInt32? {
    let stored = unsafe rawWord(KRingLayout.exchangedEnd)
    return stored > 0 && stored <= count ? stored &- 1 : nil
  }

  func store(exchangedEnd: UInt32?) {
    unsafe setRawWord(KRingLayout.exchangedEnd, exchangedEnd.map { $0 &+ 1 } ?? 0)
  }

  /// The end of the slots of a transmit ring that its monitors have.
  ///
  /// - Returns: Nil when no monitor has any, or when the stored value is not below `count`, the ring's slot count.
  func monitoredEnd(below count: UInt32) -> UInt32? {
    let stored = unsafe rawWord(KRingLayout.monitoredEnd)
    return stored > 0 && stored <= count ? stored &- 1 : nil
  }

  func store(monitoredEnd: UInt32?) {
    unsafe setRawWord(KRingLayout.monitoredEnd, monitoredEnd.map { $0 &+ 1 } ?? 0)
  }
}
