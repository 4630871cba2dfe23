internal import Glibc
internal import NetmapCore

/// How a wait for the daemon notices that its caller wants to stop waiting.
///
/// A library that stands between a program and the C library blocks signals while it waits for the daemon. It tells here
/// how to find out that one of them is pending.
package enum Interruption {
  /// Set once, before any wait.
  private nonisolated(unsafe) static var check: (@convention(c) () -> CInt)?

  /// From now on all waits for the daemon end when `check` returns another number than 0.
  ///
  /// Waits call it every 20 ms.
  package static func use(_ check: @escaping @convention(c) () -> CInt) {
    unsafe self.check = check
  }

  /// How long a wait may sleep before it looks again, milliseconds.
  static var slice: UInt64 { unsafe check == nil ? UInt64(Int32.max) : 20 }

  /// - Throws: ``NetmapError`` `EINTR` when the caller wants to stop waiting.
  static func look(_ operation: String) throws(NetmapError) {
    guard let check = unsafe check, check() != 0 else { return }
    throw NetmapError(
      .init(rawValue: EINTR), operation, "netmapd", reason: "a signal ended the wait for it")
  }
}
