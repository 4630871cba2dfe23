internal import CLinux
internal import CNetmap
internal import Glibc

extension AttachedRing {
  /// Stamps a receive ring with the wall clock (`ts`: seconds and microseconds).
  ///
  /// Every receive sync stamps the ring, whether or not packets arrived, unless stamping was
  /// switched off and the ring does not ask for it with `NR_TIMESTAMP`. A stamp that is less than a
  /// microsecond old stays: it could not say more, and a look at the clock costs as much as a sync.
  // Calls into the C library, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(__always)
  func stamp(_ ring: Ring) {
    guard unsafe stampsAlways || ring.flags & UInt32(NR_TIMESTAMP) != 0 else { return }
    let clock = unsafe StampClock.of(parts)
    let cycles = clinux_cycles()
    // Also where the counter has gone backwards, on another processor or after a move to another host.
    if unsafe cycles &- clock.pointee.last < clock.pointee.microsecond { return }
    let field = unsafe (ring.base + NETMAP_RING_TS_OFFSET).assumingMemoryBound(to: timeval.self)
    unsafe gettimeofday(field, nil)
    unsafe clock.pointee.last = cycles
    if unsafe cycles &- clock.pointee.baseCycles > StampClock.interval {
      unsafe clock.pointee.calibrate(cycles, field.pointee)
    }
  }
}

/// How a ring's stamp ages, by the processor's cycle counter; a process's own.
@usableFromInline
package struct StampClock {
  /// The counter at the last look at the wall clock.
  var last: UInt64 = 0
  /// Cycles in a microsecond; 0 while that is not known, or where there is no counter.
  var microsecond: UInt64 = 0
  /// What the counter and the clock, in microseconds, said together at one time.
  fileprivate var baseCycles: UInt64 = 0
  private var baseTime = 0

  /// Cycles between two calibrations: some milliseconds on any machine.
  fileprivate static var interval: UInt64 { 1 << 25 }

  package init() {}

  @inline(__always)
  static func of(_ parts: UnsafePointer<RingParts>) -> UnsafeMutablePointer<StampClock> {
    // Whoever builds the parts has them in memory that can be written to; only the ring's own sync does.
    let parts = unsafe UnsafeMutablePointer(mutating: parts)
    return unsafe withUnsafeMutablePointer(to: &parts.pointee.stampClock) { unsafe $0 }
  }

  @inline(never)
  fileprivate mutating func calibrate(_ cycles: UInt64, _ now: timeval) {
    let time = Int(now.tv_sec) &* 1_000_000 &+ Int(now.tv_usec)
    let passed = time &- baseTime
    // No processor counts more than 10 of them in a nanosecond; a clock that was set may seem to.
    let known = baseTime != 0 && passed > 0
    microsecond = known ? min((cycles &- baseCycles) / UInt64(passed), 10_000) : 0
    (baseCycles, baseTime) = (cycles, time)
  }
}
