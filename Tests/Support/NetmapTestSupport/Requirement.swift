internal import Glibc
public import Testing

/// What a test needs of the machine. Where that is missing the test is skipped, loudly, and fails when the
/// environment says `CI`.
public struct Requirement: TestTrait, SuiteTrait, TestScoping {
  /// What is missing; nil when nothing is.
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

  /// Ends the test that runs, because something is missing.
  ///
  /// - Throws: What ends it; nothing under `CI`, where it has failed.
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
