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

  /// Whose token it is: the daemon's at this address.
  ///
  /// - Throws: ``NetmapError`` `ENOTSOCK` or `EINVAL` for a descriptor that is no token.
  package func daemon() throws(NetmapError) -> DaemonAddress {
    try DaemonAddress(peerOf: try open().descriptor)
  }
}

extension DaemonAddress {
  fileprivate init(peerOf file: CInt) throws(NetmapError) {
    var address = sockaddr_un()
    var size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe getpeername(file, $0, &size)
      }
    }
    guard result == 0 else {
      throw systemError("getpeername", "descriptor \(file)", remedy: "give it a token of netmapd's")
    }
    let bytes = unsafe withUnsafeBytes(of: &address.sun_path) { unsafe Array($0) }
    guard address.sun_family == sa_family_t(AF_UNIX), bytes.first != 0 else {
      throw NetmapError(
        .invalidArgument, "attach", "descriptor \(file)",
        reason: "it is not connected to a netmapd", remedy: "give it a token of netmapd's")
    }
    try self.init(path: String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
  }
}
