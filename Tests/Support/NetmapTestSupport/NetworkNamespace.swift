internal import Glibc
internal import NetmapCore
internal import NetworkStage
internal import Synchronization

/// A network namespace without a name, for the length of one test.
///
/// The test's thread moves into a new namespace, runs the test and moves back; the namespace vanishes
/// with all interfaces in it. No interface of the machine is visible there, none can be touched. The
/// test must not suspend: it would wake up on another thread.
public enum NetworkNamespace {
  /// Runs `body` in a new network namespace.
  ///
  /// Without the right to make namespaces (`CAP_SYS_ADMIN`) the test is skipped, loudly, and fails
  /// when the environment says `CI=true`.
  ///
  /// - Throws: What `body` throws.
  public static func run(_ body: () throws -> Void) throws {
    let namespace: PrivateNamespace
    do throws(NetmapError) {
      namespace = try .enter()
    } catch {
      return try Requirement.skip("no network namespace can be made: \(error)")
    }
    // The thread is used for other tests: those must not run in here.
    defer { namespace.leave() }
    try run("ip", "link", "set", "lo", "up")
    try body()
  }

  /// Sets interfaces up that are connected to each other, and waits until they pass frames.
  ///
  /// The kernel drops what is sent sooner, and tells nobody.
  ///
  /// - Throws: `NetmapError` when there is no such interface, or its link does not come up.
  public static func setUp(_ names: String...) throws {
    let links = try names.map { try Link(named: $0) }
    for link in links { try link.setUp() }
    for link in links { try link.waitUntilRunning() }
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

/// A thread with a result; it runs in the network namespace of the thread that starts it.
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
  ///
  /// - Throws: ``ProgramError`` when it does not in two minutes; it is left behind then.
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
