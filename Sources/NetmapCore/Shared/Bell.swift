internal import CLinux
internal import Glibc
internal import Synchronization

/// The futex word that a binding's sleepers sleep on when all progress happens in shared memory.
///
/// The word counts wake-ups. It lies in the binding's record, so every process that may have to ring it has it
/// mapped.
///
/// A sleeper reads the count, announces itself, checks its rings, and sleeps only if the count is still the same.
/// So a wake-up between two of these steps is not lost. No process owns the word: a wrong count costs one extra
/// check of the rings.
@unsafe
package struct Bell {
  let word: UnsafeMutableRawPointer

  init(word: UnsafeMutableRawPointer) {
    unsafe self.word = word
  }

  /// The number of wake-ups, modulo 2^32.
  ///
  /// A sleeper must read it before it announces itself.
  var count: UInt32 { unsafe cell.pointee.load(ordering: .sequentiallyConsistent) }

  /// Wakes threads that sleep on the word, in any process.
  ///
  /// - Parameter count: The most threads to wake; the caller pays for each of them.
  // Ends in a system call, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(never)
  package func ring(atMost count: CInt = .max) {
    _ = unsafe cell.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    _ = unsafe clinux_futex_wake(word, count)
  }

  /// The longest sleep of one system call.
  ///
  /// Every call has a limit, because without one a signal handler with SA_RESTART would not end the sleep
  /// (futex(2)).
  private static let longestSleep: UInt64 = 86_400_000_000_000

  /// Sleeps until the next wake-up, unless one has happened since the caller read `count`.
  ///
  /// - Parameters:
  ///   - count: The value of ``count`` that the caller read.
  ///   - timeout: Nanoseconds; nil sleeps for `longestSleep` at most. The call may also return early without a
  ///     wake-up.
  /// - Throws: ``NetmapError`` `EINTR` when a signal handler ran.
  func sleep(unlessRungSince count: UInt32, timeout: UInt64?) throws(NetmapError) {
    let limit = unsafe min(timeout ?? .max, Self.longestSleep)
    let time = timespec(
      tv_sec: Int(limit / 1_000_000_000), tv_nsec: Int(limit % 1_000_000_000))
    let result = unsafe withUnsafePointer(to: time) { time in
      unsafe clinux_futex_wait(word, count, time)
    }
    guard result < 0, errno != EAGAIN, errno != ETIMEDOUT else { return }
    throw systemError("futex", "sleeper")
  }

  private var cell: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe word.assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

extension SyncSegment {
  /// The bell of binding `index`, even if no such binding exists at present; nil when the index is out of range.
  package func bell(ofBinding index: Int) -> Bell? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    return unsafe Bell(word: memory.base + Self.offset(ofBinding: index) + Self.bellOffset)
  }
}

extension WaitWord {
  /// The bell of binding `index`, located relative to the list of waiters, which lies in the same segment.
  func bell(ofBinding index: Int) -> Bell? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    let offset =
      SyncSegment.offset(ofBinding: index) + SyncSegment.bellOffset - SyncSegmentLayout.waiters
    return unsafe Bell(word: list + offset)
  }
}
