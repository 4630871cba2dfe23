/// How long a module host has left packets waiting, by what repeated looks have seen.
///
/// Time in which netmapd itself did not look counts only up to ``lookMax`` for each look. On a busy machine netmapd may
/// look seldom, and the host may have had nothing to do for most of that time.
package struct ModuleStallWatch {
  /// The host's progress when it was last seen to make some, or to have nothing to do.
  private var progress: UInt64 = 0
  private var lookedAt: UInt64
  /// Nanoseconds for which packets have waited without progress.
  package private(set) var stalled: UInt64 = 0

  /// The longest time that one look adds, nanoseconds.
  package static let lookMax: UInt64 = 100_000_000

  /// - Parameter now: Monotonic nanoseconds.
  package init(at now: UInt64) { lookedAt = now }

  /// Notes what a look has seen.
  ///
  /// - Parameters:
  ///   - progress: A number that changes whenever the host handles packets.
  ///   - isWaiting: Whether packets wait in the host's ring.
  ///   - now: Monotonic nanoseconds.
  /// - Returns: Whether the host has handled packets since the last look, or had none to handle.
  package mutating func look(_ progress: UInt64, isWaiting: Bool, at now: UInt64) -> Bool {
    let pause = min(now - min(now, lookedAt), Self.lookMax)
    lookedAt = now
    guard isWaiting, progress == self.progress else {
      (self.progress, stalled) = (progress, 0)
      return true
    }
    stalled &+= pause
    return false
  }
}
