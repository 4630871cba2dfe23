internal import CLinux
internal import Glibc

/// Clocks, in nanoseconds.
package enum Clock {
  /// Time since some moment in the past, never set back: for durations.
  package static func monotonic() -> UInt64 { read(CLOCK_MONOTONIC) }

  /// Time since 1970, as the machine has it: for time stamps that others read.
  package static func wall() -> UInt64 { read(CLOCK_REALTIME) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// Sleeps for about `nanoseconds`; less if a signal handler ran.
  package static func sleep(nanoseconds: UInt64) {
    var time = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    unsafe nanosleep(&time, nil)
  }
}
