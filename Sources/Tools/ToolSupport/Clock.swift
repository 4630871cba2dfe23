internal import CLinux
internal import Glibc

/// Linux clocks, in nanoseconds.
package enum Clock {
  /// Monotonic time since an unspecified moment, for durations.
  package static func monotonic() -> UInt64 { read(CLOCK_MONOTONIC) }

  /// Wall-clock time since 1970, for time stamps.
  package static func wall() -> UInt64 { read(CLOCK_REALTIME) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// Sleeps for about `nanoseconds`, or until a signal handler has run.
  package static func sleep(nanoseconds: UInt64) {
    var time = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    unsafe nanosleep(&time, nil)
  }
}
