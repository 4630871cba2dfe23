internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// One open of a port, as a descriptor.
///
/// The binding lasts until the last copy is closed.
///
/// A token can be polled, inherited and passed on like a file. No process ever receives on it: a
/// request that is sent on a token carries a socket for the answer. A process that got a token by
/// fork(2), exec(2) or over a socket can use the port's rings after
/// ``DaemonConnection/attach(_:)``.
package final class Token: Sendable {
  private let socket: Mutex<MessageSocket?>

  init(_ socket: MessageSocket) {
    self.socket = Mutex(socket)
  }

  /// - Parameter descriptor: A copy of a token; this object takes ownership of it.
  package convenience init(owning descriptor: CInt) {
    self.init(MessageSocket(owning: descriptor))
  }

  /// Closes this copy.
  package func close() {
    socket.withLock { $0 = nil }
  }

  /// Makes another copy of the token.
  ///
  /// - Parameter survivesExec: Whether the copy stays open across exec(2).
  /// - Returns: The copy, which the caller closes.
  /// - Throws: ``NetmapError`` `EBADF` when this copy is closed, `EMFILE`.
  package func duplicate(survivesExec: Bool = false) throws(NetmapError) -> CInt {
    let command = survivesExec ? F_DUPFD : CInt(CLINUX_F_DUPFD_CLOEXEC)
    let copy = fcntl(try open().descriptor, command, 0)
    guard copy >= 0 else {
      throw systemError("fcntl", "token", remedy: "raise the limit of open files (ulimit -n)")
    }
    return copy
  }

  /// The token's socket.
  func open() throws(NetmapError) -> MessageSocket {
    guard let socket = socket.withLock({ $0 }) else {
      throw NetmapError(.badDescriptor, "use", "token", reason: "it is closed")
    }
    return socket
  }

  /// The address of the daemon that made this token; the daemon must be root's or this user's own.
  ///
  /// - Throws: ``NetmapError`` `ENOTSOCK` or `EINVAL` for a descriptor that is not a token, `EPERM`
  ///   for a token of another user's daemon.
  package func daemon() throws(NetmapError) -> DaemonAddress {
    try DaemonAddress.daemon(ofToken: open().descriptor)
  }
}
