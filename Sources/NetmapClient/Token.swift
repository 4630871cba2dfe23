internal import CLinux
internal import Glibc
package import NetmapCore
internal import Synchronization

/// One open of a port, as a descriptor: the binding lasts until its last copy is closed.
///
/// It is polled, inherited and passed on like a file. Nothing is ever received on it: a request that is
/// sent on it carries a socket for the answer. A process that was given one by fork(2), exec(2) or
/// over a socket can use the port's rings after ``DaemonConnection/attach(_:)``.
package final class Token: Sendable {
  private let socket: Mutex<MessageSocket?>

  init(_ socket: MessageSocket) {
    self.socket = Mutex(socket)
  }

  /// - Parameter descriptor: A copy of a token; this object's from now on.
  package convenience init(owning descriptor: CInt) {
    self.init(MessageSocket(owning: descriptor))
  }

  /// Closes this copy.
  package func close() {
    socket.withLock { $0 = nil }
  }

  /// Another copy of it, which is the caller's.
  ///
  /// - Parameter survivesExec: Whether a program that this process becomes inherits the copy.
  /// - Returns: The copy.
  /// - Throws: ``NetmapError`` `EBADF` when this one is closed, `EMFILE`.
  package func duplicate(survivesExec: Bool = false) throws(NetmapError) -> CInt {
    let command = survivesExec ? F_DUPFD : CInt(CLINUX_F_DUPFD_CLOEXEC)
    let copy = fcntl(try open().descriptor, command, 0)
    guard copy >= 0 else {
      throw systemError("fcntl", "token", remedy: "raise the limit of open files (ulimit -n)")
    }
    return copy
  }

  /// The socket.
  func open() throws(NetmapError) -> MessageSocket {
    guard let socket = socket.withLock({ $0 }) else {
      throw NetmapError(.badDescriptor, "use", "token", reason: "it is closed")
    }
    return socket
  }

  /// Whose token it is: the daemon's at this address, which is root's or this user's own.
  ///
  /// - Throws: ``NetmapError`` `ENOTSOCK` or `EINVAL` for a descriptor that is no token, `EPERM` for one of
  ///   another user's daemon.
  package func daemon() throws(NetmapError) -> DaemonAddress {
    try DaemonAddress.daemon(of: open())
  }
}
