/// What a ``Worker`` does again and again: it carries packets between two ports.
///
/// All calls come from the worker's thread.
protocol WorkerTask: AnyObject {
  /// Moves what there is to move, within limits.
  ///
  /// - Returns: How many slots were moved.
  func turn() -> Int

  /// What a sleeper waits for.
  var items: [Sleeper.Item] { get }

  /// How long the thread may sleep although nothing is ready, nanoseconds; nil for ever. Asked once for
  /// each sleep.
  func nextLook() -> UInt64?

  /// Takes note that the task ended a sleep.
  func noteAlarm(at now: UInt64)

  /// Until when the task is left alone, as it wakes the worker for nothing; monotonic nanoseconds.
  var pausesUntil: UInt64 { get }

  /// The port has been closed: what was sent is still delivered, then the task is done.
  func close()

  /// Whether the task is about to end.
  var isClosing: Bool { get }

  /// Whether it has.
  func isDone(at now: UInt64) -> Bool

  /// Called once, after the last turn.
  func finish()
}

/// Counts wake-ups in a row that brought nothing to move.
struct FalseAlarms {
  private var count = 0
  /// Until when whoever gives them is left alone, monotonic nanoseconds.
  private(set) var pausesUntil: UInt64 = 0

  /// Another wake-up; the eighth one in a row earns a pause of 10 ms.
  mutating func note(at now: UInt64) {
    count += 1
    guard count >= 8 else { return }
    count = 0
    pausesUntil = now + 10_000_000
  }

  /// Something was moved.
  mutating func forget() { count = 0 }
}
