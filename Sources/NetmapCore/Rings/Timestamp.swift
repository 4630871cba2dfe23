internal import CLinux
internal import CNetmap
internal import Glibc

extension AttachedRing {
  /// Stamps a receive ring with the wall clock (`ts`: seconds and microseconds).
  ///
  /// Every receive sync stamps the ring, whether or not packets arrived, unless stamping was
  /// switched off and the ring does not ask for it with `NR_TIMESTAMP`. A stamp that is less than a
  /// microsecond old stays: it could not say more. For a millisecond after a look at the clock, which
  /// costs as much as a sync, the processor's cycle counter tells how late it is.
  // Calls into the C library, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(__always)
  func stamp(_ ring: Ring) {
    guard unsafe stampsAlways || ring.flags & UInt32(NR_TIMESTAMP) != 0 else { return }
    let clock = unsafe StampClock.of(parts)
    let cycles = clinux_cycles()
    // Also where the counter has gone backwards, on another processor or after a move to another host.
    if unsafe cycles &- clock.pointee.last < clock.pointee.microsecond { return }
    unsafe clock.pointee.stamp(cycles, ring)
  }
}

/// What time it is by the processor's cycle counter, and how old a ring's stamp is; a process's own.
@usableFromInline
package struct StampClock {
  /// The counter at the last stamp.
  var last: UInt64 = 0
  /// The counter at the last look at the wall clock, and what that said.
  private var lookedAt: UInt64 = 0
  private var seen = timeval()
  /// Cycles for which that look is good: a millisecond, in which no clock goes wrong by more than a
  /// microsecond. 0 where they are not known.
  private var horizon: UInt64 = 0
  /// Microseconds of a cycle, in parts of 2^32; rounded down, so that no stamp is ahead of the clock.
  private var perCycle: UInt64 = 0
  /// Cycles in a microsecond; 0 while that is not known, or where there is no counter.
  var microsecond: UInt64 = 0
  /// What the counter and the clock, in microseconds, said together at one time.
  fileprivate var baseCycles: UInt64 = 0
  private var baseTime = 0

  /// Cycles between two calibrations: some milliseconds on any machine.
  fileprivate static var interval: UInt64 { 1 << 25 }

  /// Cycles that a look takes at most: well under a microsecond.
  private static var lookLimit: UInt64 { 1 << 11 }

  package init() {}

  @inline(__always)
  static func of(_ parts: UnsafePointer<RingParts>) -> UnsafeMutablePointer<StampClock> {
    // Whoever builds the parts has them in memory that can be written to; only the ring's own sync does.
    let parts = unsafe UnsafeMutablePointer(mutating: parts)
    return unsafe withUnsafeMutablePointer(to: &parts.pointee.stampClock) { unsafe $0 }
  }

  /// Stamps a ring whose stamp is a microsecond old.
  @inline(never)
  fileprivate mutating func stamp(_ cycles: UInt64, _ ring: Ring) {
    last = cycles
    let passed = cycles &- lookedAt
    guard passed < horizon else { return unsafe look(at: cycles, ring) }
    var time = seen
    time.tv_usec &+= Int(truncatingIfNeeded: (passed &* perCycle) >> 32)
    if time.tv_usec >= 1_000_000 {
      time.tv_usec &-= 1_000_000
      time.tv_sec &+= 1
    }
    unsafe ring.store(timestamp: time.tv_sec, time.tv_usec)
  }

  /// Stamps by a look at the clock.
  // Calls into the C library, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(never)
  private mutating func look(at cycles: UInt64, _ ring: Ring) {
    // Not into the ring, where others can write: the clock goes on from what it says.
    unsafe gettimeofday(&seen, nil)
    unsafe ring.store(timestamp: seen.tv_sec, seen.tv_usec)
    guard clinux_cycles() &- cycles < Self.lookLimit else {
      // Interrupted in between: the two do not belong together, so the next stamp looks again.
      lookedAt = cycles &- horizon
      return
    }
    lookedAt = cycles
    if cycles &- baseCycles > Self.interval { calibrate(cycles, seen) }
  }

  private mutating func calibrate(_ cycles: UInt64, _ now: timeval) {
    let time = Int(now.tv_sec) &* 1_000_000 &+ Int(now.tv_usec)
    let passed = time &- baseTime
    // No processor counts more than 10 of them in a nanosecond; a clock that was set may seem to.
    let known = baseTime != 0 && passed > 0
    microsecond = known ? min((cycles &- baseCycles) / UInt64(passed), 10_000) : 0
    horizon = 1000 &* microsecond
    perCycle = (1 << 32) / (microsecond &+ 1)
    (baseCycles, baseTime) = (cycles, time)
  }
}
