internal import CLinux
internal import Glibc
internal import Synchronization
internal import Testing

/// A network namespace without a name, for the length of one test.
///
/// A new thread moves into a namespace of its own and runs the test there; interfaces made in it
/// vanish when the thread ends. No interface of the machine is visible, none can be touched.
public enum NetworkNamespace {
  /// Runs `body` on a thread of its own in a new network namespace.
  ///
  /// Without the right to make namespaces (`CAP_SYS_ADMIN`) the test is skipped, loudly, and fails
  /// when the environment says `CI=true`.
  ///
  /// - Throws: What `body` throws.
  public static func run(_ body: @escaping @Sendable () throws -> Void) throws {
    let outcome = try onNewThread {
      guard unshare(CInt(CLINUX_CLONE_NEWNET)) == 0 else { return Outcome.noRights(errno) }
      do {
        try run("ip", "link", "set", "lo", "up")
        try body()
        return .done
      } catch {
        return .threw(error)
      }
    }
    switch outcome {
    case .done: return
    case .threw(let error): throw error
    case .noRights(let code):
      let reason = unsafe String(cString: strerror(code))
      let message =
        "NOT TESTED: making a network namespace needs CAP_SYS_ADMIN (\(reason)); run as root"
      if unsafe getenv("CI") != nil {
        Issue.record("\(message)")
      } else {
        TestProgram.shout("\n*** \(message)\n\n")
        try Test.cancel("\(message)")
      }
    }
  }

  private enum Outcome: Sendable {
    case done
    case threw(any Error)
    case noRights(CInt)
  }

  /// Runs `body` on a thread of its own, in the namespace of the calling thread.
  @discardableResult
  public static func onNewThread<R: Sendable>(
    _ body: @escaping @Sendable () -> R
  ) throws -> R {
    let task = NamespaceThread(body)
    return try task.start().join()
  }

  /// Runs a program in the namespace of the calling thread, and waits for it.
  ///
  /// - Returns: What it wrote to standard output and standard error.
  /// - Throws: ``ProgramError`` when it cannot be started or its exit status is not 0.
  @discardableResult
  public static func run(_ arguments: String...) throws -> String {
    try TestProgram.output(of: arguments)
  }
}

/// A thread with a result.
public final class NamespaceThread<R: Sendable>: Sendable {
  private let body: @Sendable () -> R
  private let result = Mutex<R?>(nil)
  private nonisolated(unsafe) var thread = pthread_t()

  public init(_ body: @escaping @Sendable () -> R) {
    self.body = body
  }

  /// Starts the thread; it inherits the caller's network namespace.
  public func start() throws -> NamespaceThread {
    let argument = unsafe Unmanaged.passRetained(
      Start { [self] in
        let value = body()
        result.withLock { $0 = value }
      })
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        if let argument = unsafe argument {
          unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
        }
        return nil
      }, argument.toOpaque())
    guard code == 0 else { throw ProgramError(text: "pthread_create: errno \(code)") }
    return self
  }

  /// Waits for the thread to end.
  public func join() throws -> R {
    unsafe pthread_join(thread, nil)
    guard let value = result.withLock({ $0 }) else {
      throw ProgramError(text: "the thread left no result")
    }
    return value
  }
}

private final class Start {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
