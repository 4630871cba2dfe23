/// A task that a ``Worker`` runs again and again: it carries packets between two ports.
///
/// The worker's thread makes all calls.
protocol WorkerTask: AnyObject {
  /// Moves the packets that can be moved, up to a limit.
  ///
  /// - Returns: The number of slots moved.
  func turn() -> Int

  /// What the worker sleeps for on behalf of the task.
  var items: [Sleeper.Item] { get }

  /// How long the thread may sleep although nothing is ready, nanoseconds; nil for any length.
  ///
  /// Asked once for each sleep.
  func nextLook() -> UInt64?

  /// Notes that the task has ended a sleep.
  func noteAlarm(at now: UInt64)

  /// Until when the worker does not sleep for the task, because the task has woken it for nothing;
  /// monotonic nanoseconds.
  var pausesUntil: UInt64 { get }

  /// Ends the task, whose port has been closed.
  ///
  /// The task still delivers the packets that were sent before it is done.
  func close()

  /// Whether the task is ending.
  var isClosing: Bool { get }

  /// Whether the task has ended.
  func isDone(at now: UInt64) -> Bool

  /// Called once, after the last turn.
  func finish()
}

/// Counts consecutive wake-ups after which nothing could be moved.
struct FalseAlarms {
  private var count = 0
  /// Until when the worker does not sleep for the task that causes them, monotonic nanoseconds.
  private(set) var pausesUntil: UInt64 = 0

  /// Notes another wake-up; the eighth consecutive one causes a pause of 10 ms.
  mutating func note(at now: UInt64) {
    count += 1
    guard count >= 8 else { return }
    count = 0
    pausesUntil = now + 10_000_000
  }

  /// Notes that packets were moved.
  mutating func forget() { count = 0 }
}
