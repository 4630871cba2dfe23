internal import CLinux
internal import Glibc
internal import NetmapCore
internal import Synchronization

/// Work in another network namespace.
///
/// A thread of its own does the work and ends there. So no thread of the application is ever in a network namespace
/// that it has not entered itself, not even when the work fails.
enum NamespaceThread {
  /// The namespace in which the work is done.
  enum Place {
    /// The namespace of a descriptor, which must stay open during the work.
    case of(CInt)
    /// A new namespace, which has no name and goes with its last descriptor, socket and thread.
    case new
  }

  private final class Outcome<R>: Sendable {
    private let value = Mutex<Result<Handover<R>, NetmapError>?>(nil)

    func set(_ result: Result<Handover<R>, NetmapError>) { value.withLock { $0 = result } }
    var result: Result<Handover<R>, NetmapError>? { value.withLock { $0 } }
  }

  /// A result on its way from the thread that made it, which has ended when the caller takes it.
  private struct Handover<R>: @unchecked Sendable {
    let value: R
  }

  /// Runs `body` in a network namespace, and waits until it has ended.
  ///
  /// - Parameters:
  ///   - place: The namespace.
  ///   - subject: The interface, for messages.
  ///   - body: The work. It is the only thread that runs meanwhile among those that share its data.
  /// - Returns: What `body` returns.
  /// - Throws: ``NetmapError`` `EPERM` without `CAP_SYS_ADMIN`, or what `body` throws.
  static func run<R>(
    in place: Place, for subject: String, _ body: () throws(NetmapError) -> R
  ) throws(NetmapError) -> R {
    let outcome = Outcome<R>()
    // The closure does not outlive this call, which waits for the thread.
    let result = try withoutActuallyEscaping(body) {
      (body) throws(NetmapError) -> Result<Handover<R>, NetmapError>? in
      let work = Handover(value: body)
      let thread = try EngineThread.start("network namespace") {
        outcome.set(
          Result { () throws(NetmapError) in
            try enter(place, subject)
            return Handover(value: try work.value())
          })
      }
      pthread_join(thread, nil)
      return outcome.result
    }
    guard let result else { preconditionFailure("a thread has ended without a result") }
    return try result.get().value
  }

  private static func enter(_ place: Place, _ subject: String) throws(NetmapError) {
    let result =
      switch place {
      case .of(let file): setns(file, CInt(CLINUX_CLONE_NEWNET))
      case .new: unshare(CInt(CLINUX_CLONE_NEWNET))
      }
    guard result == 0 else {
      throw systemError(
        "enter a network namespace", subject,
        remedy: errno == EPERM ? "run as root, or with the capability CAP_SYS_ADMIN" : "")
    }
  }

  /// A descriptor of the calling thread's network namespace.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` where /proc is missing, `EMFILE`.
  static func current(for subject: String) throws(NetmapError) -> OwnedFile {
    let file = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      throw systemError(
        "open", "\(subject) (/proc/thread-self/ns/net)",
        remedy: errno == ENOENT ? "mount /proc, which identifies the network namespace" : "")
    }
    return OwnedFile(file)
  }
}
