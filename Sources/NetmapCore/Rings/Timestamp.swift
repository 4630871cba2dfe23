internal import CLinux
internal import CNetmap
internal import Glibc

extension MappedRing {
  /// Stamps a receive ring with the wall clock (`ts`: seconds and microseconds).
  ///
  /// Every receive sync stamps the ring, even if no packets arrived, unless stamping is switched off and the ring
  /// does not request it with `NR_TIMESTAMP`. A stamp less than a microsecond old stays unchanged, because its
  /// resolution is a microsecond. Reading the clock costs as much as a sync, so for a millisecond after each
  /// reading the processor's cycle counter gives the time.
  // Calls into the C library, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(__always)
  func stamp(_ ring: Ring) {
    guard unsafe stampsAlways || ring.flags & UInt32(NR_TIMESTAMP) != 0 else { return }
    let clock = unsafe StampClock.of(parts)
    let cycles = clinux_cycles()
    // The unsigned comparison also fails if the counter has gone backward, on another processor or after a move
    // to another host.
    if unsafe cycles &- clock.pointee.last < clock.pointee.microsecond { return }
    unsafe clock.pointee.stamp(cycles, ring)
  }
}

/// A clock that derives the time and the age of a ring's stamp from the processor's cycle counter; private to a
/// process.
@usableFromInline
package struct StampClock {
  /// The counter value at the last stamp.
  var last: UInt64 = 0
  /// The counter value at the last reading of the wall clock, and that reading.
  private var lookedAt: UInt64 = 0
  private var seen = timeval()
  /// The number of cycles for which the reading is valid: a millisecond, in which no counter drifts by more than
  /// a microsecond. 0 while the cycle rate is not known.
  private var horizon: UInt64 = 0
  /// Microseconds per cycle, in units of 2^-32; rounded down, so that no stamp is ahead of the clock.
  private var perCycle: UInt64 = 0
  /// Cycles per microsecond; 0 while unknown, or without a cycle counter.
  var microsecond: UInt64 = 0
  /// A counter value and the clock's time in microseconds, read together.
  fileprivate var baseCycles: UInt64 = 0
  private var baseTime = 0

  /// Cycles between two calibrations: some milliseconds on any machine.
  fileprivate static var interval: UInt64 { 1 << 25 }

  /// The most cycles that a reading of the clock takes: well under a microsecond.
  private static var lookLimit: UInt64 { 1 << 11 }

  package init() {}

  @inline(__always)
  static func of(_ parts: UnsafePointer<RingParts>) -> UnsafeMutablePointer<StampClock> {
    // The parts lie in writable memory of their builder, and only the ring's own sync modifies the clock.
    let parts = unsafe UnsafeMutablePointer(mutating: parts)
    return unsafe withUnsafeMutablePointer(to: &parts.pointee.stampClock) { unsafe $0 }
  }

  /// Stamps a ring whose last stamp is at least a microsecond old.
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

  /// Stamps a ring with a new reading of the clock.
  // Calls into the C library, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(never)
  private mutating func look(at cycles: UInt64, _ ring: Ring) {
    // Read into private memory, not into the ring, where other processes can write: later stamps start from this
    // reading.
    unsafe gettimeofday(&seen, nil)
    unsafe ring.store(timestamp: seen.tv_sec, seen.tv_usec)
    guard clinux_cycles() &- cycles < Self.lookLimit else {
      // Interrupted between the two readings, so they do not belong together; the next stamp reads the clock
      // again.
      lookedAt = cycles &- horizon
      return
    }
    lookedAt = cycles
    if cycles &- baseCycles > Self.interval { calibrate(cycles, seen) }
  }

  private mutating func calibrate(_ cycles: UInt64, _ now: timeval) {
    let time = Int(now.tv_sec) &* 1_000_000 &+ Int(now.tv_usec)
    let passed = time &- baseTime
    // No processor counts more than 10 cycles per nanosecond, but a clock that was set can suggest it.
    let known = baseTime != 0 && passed > 0
    microsecond = known ? min((cycles &- baseCycles) / UInt64(passed), 10_000) : 0
    horizon = 1000 &* microsecond
    perCycle = (1 << 32) / (microsecond &+ 1)
    (baseCycles, baseTime) = (cycles, time)
  }
}
