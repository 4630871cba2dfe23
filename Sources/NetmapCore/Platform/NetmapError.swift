/// An operation that netmap refused: what failed, on what, why, and what to do about it.
///
/// Every refusal carries the `errno` that netmap(4) documents for it, so that the C interface and
/// the Swift interface report the same thing.
public struct NetmapError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The `errno` that a netmap system call would have set.
  public struct Code: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int32

    public init(rawValue: Int32) {
      self.rawValue = rawValue
    }
  }

  public let code: Code

  /// What was tried: `open`, `parse`, `mmap`, ...
  public let operation: String

  /// What it was tried on: a port name, a request, a file.
  public let subject: String

  /// Why it was refused, in one clause.
  public let reason: String

  /// What the user can do about it, in one clause; empty when there is nothing to do.
  public let remedy: String

  /// For how long after the first attempt a caller may try again, in nanoseconds, because the cause may pass by
  /// itself. 0 for a refusal that stays.
  package var patience: UInt64 = 0

  /// Whether the caller may try again.
  ///
  /// - Parameter start: The time of the first attempt, from `monotonicNanoseconds()`.
  /// - Returns: False when the cause does not pass by itself, or the time that ``patience`` gives is over.
  package func mayPass(since start: UInt64) -> Bool {
    patience > 0 && monotonicNanoseconds() &- start < patience
  }

  public init(
    _ code: Code, _ operation: String, _ subject: String, reason: String, remedy: String = ""
  ) {
    self.code = code
    self.operation = operation
    self.subject = subject
    self.reason = reason
    self.remedy = remedy
  }

  public var description: String {
    let advice = remedy.isEmpty ? "" : "; \(remedy)"
    return "\(operation) \(subject): \(reason)\(advice) (\(code.name))"
  }

  /// The same refusal with another subject.
  ///
  /// A lower layer names the object that failed. The layer above knows the user's name for it, and puts that name
  /// into the error on its way out.
  package func about(_ subject: String) -> NetmapError {
    var error = NetmapError(code, operation, subject, reason: reason, remedy: remedy)
    error.patience = patience
    return error
  }
}
