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
    involuntarySwitches(status: fileText("/proc/thread-self/status") ?? "")
  }

  /// - Parameter status: The contents of `/proc/PID/status` or of the same file of a thread; see proc_pid_status(5).
  /// - Returns: The involuntary context switches; 0 when the text does not have them.
  static func involuntarySwitches(status: String) -> Int {
    let line = status.split(separator: "\n").first { $0.hasPrefix("nonvoluntary_ctxt_switches:") }
    return line?.split(separator: "\t").last.flatMap { Int($0) } ?? 0
  }
}
