internal import Glibc
public import Testing

/// A test's requirement of the machine.
///
/// Without it the test is skipped with a message on standard error; with `CI` in the environment it fails.
public struct Requirement: TestTrait, SuiteTrait, TestScoping {
  /// The missing requirement; nil when nothing is missing.
  private let lack: @Sendable () -> String?

  public var isRecursive: Bool { true }

  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    if let lack = lack() { return try Self.skip(lack) }
    try await function()
  }

  init(_ lack: @escaping @Sendable () -> String?) {
    self.lack = lack
  }

  /// Ends the running test, because a requirement is missing.
  ///
  /// - Throws: The error that cancels the test; with `CI` set, it records a failure and throws nothing.
  public static func skip(_ lack: String) throws {
    let message = "NOT TESTED: \(lack)"
    if unsafe getenv("CI") != nil {
      Issue.record("\(message)")
    } else {
      TestProgram.shout("\n*** \(message)\n\n")
      try Test.cancel("\(message)")
    }
  }
}

extension Trait where Self == Requirement {
  /// For tests that start programs as several users.
  public static var needsRoot: Self { Requirement { geteuid() == 0 ? nil : "needs root" } }
}
