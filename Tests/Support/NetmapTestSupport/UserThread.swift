internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Testing

/// A thread of this process that runs as another user, to test requests of users without rights.
package enum UserThread {
  /// Runs `body` as a user on a separate thread, and waits for its end.
  ///
  /// Needs root. Without root the test is skipped with a message on standard error; with `CI` in the
  /// environment it fails.
  ///
  /// - Throws: The error of `body`.
  package static func run(_ user: UInt32, _ body: @escaping @Sendable () throws -> Void) throws {
    guard geteuid() == 0 else {
      let message = "NOT TESTED: needs root"
      if unsafe getenv("CI") != nil { Issue.record("\(message)") }
      TestProgram.shout("\n*** \(message)\n\n")
      try Test.cancel("\(message)")
    }
    let result = Result()
    let test = Test.current
    let thread = try EngineThread.start("user") {
      guard clinux_become_on_thread(user) == 0 else {
        result.error = FixtureError(text: "setresuid: errno \(errno)")
        return
      }
      do { try body() } catch { result.error = error }
      _ = test
    }
    pthread_join(thread, nil)
    if let error = result.error { throw error }
  }

  private final class Result: @unchecked Sendable {
    var error: (any Error)?
  }
}
