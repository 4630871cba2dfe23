import CLinux
import Glibc

/// Sockets whose close(2) blocks.
package enum LingeringSocket {
  /// Connects two TCP sockets over the loopback interface, with a full window and `SO_LINGER`: closing the last
  /// copy of the first one blocks.
  ///
  /// - Returns: The first socket, and its peer, which must stay open and reads nothing.
  /// - Throws: ``StormError`` without a loopback interface.
  package static func pair(seconds: Int) throws -> (sender: CInt, peer: CInt) {
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    let listener = socket(AF_INET, kind, 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    var small: CInt = 2048
    let sender = socket(AF_INET, kind, 0)
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, 4)
    setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &small, 4)
    let isConnected = withUnsafeMutablePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && Glibc.listen(listener, 1) == 0
          && getsockname(listener, $0, &size) == 0 && connect(sender, $0, size) == 0
      }
    }
    let other = isConnected ? accept(listener, nil, nil) : -1
    guard other >= 0 else {
      close(sender)
      throw StormError("loopback: errno \(errno)")
    }
    var waits = Glibc.linger(l_onoff: 1, l_linger: CInt(seconds))
    setsockopt(sender, SOL_SOCKET, SO_LINGER, &waits, socklen_t(MemoryLayout<Glibc.linger>.size))
    _ = fcntl(sender, F_SETFL, O_NONBLOCK)
    let bytes = [UInt8](repeating: 0, count: 65536)
    while send(sender, bytes, bytes.count, CInt(MSG_NOSIGNAL)) > 0 {}
    _ = fcntl(sender, F_SETFL, 0)
    return (sender, other)
  }
}
