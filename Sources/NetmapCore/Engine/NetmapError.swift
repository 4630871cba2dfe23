/// An operation that netmap refused: what failed, on what, why, and what to do about it.
///
/// Every refusal carries the `errno` that netmap(4) documents for it, so that the C interface and
/// the Swift interface report the same thing.
public struct NetmapError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The `errno` a netmap system call would have left.
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

  /// How long after the first try another one is worth while, nanoseconds, because the cause may pass by
  /// itself; 0 for a refusal that stays.
  package var patience: UInt64 = 0

  /// Whether another try is worth while.
  ///
  /// - Parameter start: When the first try was made, by `monotonicNanoseconds()`.
  /// - Returns: False when the cause stays, or has had its time.
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

  /// The same refusal, said of another subject.
  ///
  /// A lower layer knows the object that failed; the layer that knows the user's own words for it
  /// re-labels the error on its way out.
  package func about(_ subject: String) -> NetmapError {
    var error = NetmapError(code, operation, subject, reason: reason, remedy: remedy)
    error.patience = patience
    return error
  }
}
