internal import Glibc
internal import Synchronization

/// Counts the involuntary context switches of this process's measuring threads.
///
/// A thread that waits for the start of a measurement yields its CPU all the time, and the kernel counts that as
/// involuntary. So the count of a thread starts again when its measurement starts.
enum PreemptionCount {
  private static let count = Atomic<Int>(0)

  /// Leaves out what the calling thread has counted so far.
  static func excludePast() {
    count.wrappingSubtract(ofCallingThread, ordering: .relaxed)
  }

  /// Adds the count of the calling thread, which is about to end.
  static func addThread() {
    count.wrappingAdd(ofCallingThread, ordering: .relaxed)
  }

  /// The switches of all threads that have ended since the last call.
  static func take() -> Int { count.exchange(0, ordering: .relaxed) }

  private static var ofCallingThread: Int {
    var usage = rusage()
    // RUSAGE_THREAD, a constant that Swift's Glibc module does not export.
    guard unsafe getrusage(__rusage_who_t(1), &usage) == 0 else { return 0 }
    return usage.ru_nivcsw
  }
}
