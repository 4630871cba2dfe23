internal import CLinux
internal import Glibc
internal import Synchronization

/// The word that a binding's sleeper sleeps on where all progress is made in shared memory: how often it has
/// been woken. It lies in the record of the binding, so every process that may have to ring it has it mapped.
///
/// A sleeper reads the count, announces itself, looks at its rings, and sleeps unless the count has moved; so
/// a ring between two of these steps is not lost. Nobody owns the word: a count that is wrong costs a look
/// at the rings.
@unsafe
package struct Bell {
  private let word: UnsafeMutableRawPointer

  init(word: UnsafeMutableRawPointer) {
    unsafe self.word = word
  }

  /// How often it has rung, modulo 2^32. To be read before the announcement.
  var count: UInt32 { unsafe cell.pointee.load(ordering: .sequentiallyConsistent) }

  /// Wakes threads that sleep on it, in whichever process.
  ///
  /// - Parameter count: How many at most: whoever rings pays for each.
  // Ends in a system call, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(never)
  package func ring(atMost count: CInt = .max) {
    _ = unsafe cell.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    _ = unsafe clinux_futex_wake(word, count)
  }

  /// The longest that one system call sleeps. There always is a limit: without one a handler with SA_RESTART
  /// would not end the sleep (futex(2)).
  private static let longestSleep: UInt64 = 86_400_000_000_000

  /// Sleeps until it rings, if it has not since `count` was read.
  ///
  /// - Parameters:
  ///   - count: What ``count`` was.
  ///   - timeout: Nanoseconds; nil for long. It may also return before, for nothing.
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
  /// The bell of binding `index`, whether there is such a binding now or not; nil when there cannot be.
  package func bell(ofBinding index: Int) -> Bell? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    return unsafe Bell(word: memory.base + Self.offset(ofBinding: index) + Self.bellOffset)
  }
}

extension WaitWord {
  /// The same, found by the list of waiters, which lies in the same segment.
  func bell(ofBinding index: Int) -> Bell? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    let offset =
      SyncSegment.offset(ofBinding: index) + SyncSegment.bellOffset - SyncSegmentLayout.waiters
    return unsafe Bell(word: list + offset)
  }
}
