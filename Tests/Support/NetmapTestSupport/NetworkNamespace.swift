internal import Glibc
internal import NetmapCore
internal import NetworkTestbed
internal import Synchronization

/// An unnamed network namespace for the duration of one test.
///
/// The test's thread enters a new namespace, runs the test and returns; the kernel removes the
/// namespace with all of its interfaces. None of the machine's interfaces is visible or can be
/// changed there. The test must not suspend, since it would resume on another thread.
public enum NetworkNamespace {
  /// Runs `body` in a new network namespace.
  ///
  /// Without the right to make namespaces (`CAP_SYS_ADMIN`) the test is skipped with a message on
  /// standard error; with `CI` in the environment it fails.
  ///
  /// - Throws: The errors of `body`.
  public static func run(_ body: () throws -> Void) throws {
    let namespace: PrivateNamespace
    do throws(NetmapError) {
      namespace = try .enter()
    } catch {
      return try Requirement.skip("no network namespace can be made: \(error)")
    }
    // Other tests use this thread later, and must not run in the namespace.
    defer { namespace.leave() }
    try run("ip", "link", "set", "lo", "up")
    try body()
  }

  /// Sets up interfaces that are connected to each other, and waits until they pass frames.
  ///
  /// Until then the kernel silently drops frames.
  ///
  /// - Throws: `NetmapError` when there is no such interface, or its link does not come up.
  public static func setUp(_ names: String...) throws {
    let links = try names.map { try Link(named: $0) }
    for link in links { try link.setUp() }
    for link in links { try link.waitUntilRunning() }
  }

  /// Runs a program in the calling thread's namespace, and waits for its end.
  ///
  /// - Returns: Its standard output and standard error.
  /// - Throws: ``ProgramError`` when the program cannot start or its exit status is not 0.
  @discardableResult
  public static func run(_ arguments: String...) throws -> String {
    try TestProgram.output(of: arguments)
  }
}

/// A thread with a result, in the network namespace of the thread that starts it.
public final class NamespaceThread<R: Sendable>: Sendable {
  private let body: @Sendable () -> R
  private let result = Mutex<R?>(nil)
  private nonisolated(unsafe) var thread = pthread_t()

  public init(_ body: @escaping @Sendable () -> R) {
    self.body = body
  }

  /// Starts the thread, which inherits the caller's network namespace.
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
  ///
  /// - Throws: ``ProgramError`` when the thread does not end within two minutes; the thread keeps
  ///   running then.
  public func join() throws -> R {
    let end = ContinuousClock.now + .seconds(120)
    while ContinuousClock.now < end {
      if let value = result.withLock({ $0 }) {
        unsafe pthread_join(thread, nil)
        return value
      }
      usleep(500)
    }
    throw ProgramError(text: "a thread of the test has not ended in 120 s")
  }
}

private final class Start {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
