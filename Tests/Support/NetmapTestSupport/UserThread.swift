internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Testing

/// A thread that is another user, in this process: for what a user without rights can say to a daemon.
package enum UserThread {
  /// Runs `body` as a user, on a thread of its own, and waits for it. Needs root; without it the test is skipped,
  /// loudly, and fails when the environment says `CI=true`.
  ///
  /// - Throws: What `body` throws.
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
