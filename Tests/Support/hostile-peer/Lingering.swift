import CLinux
import Glibc
import NetmapClient
import NetmapCore

/// Descriptors whose close(2) blocks.
enum Lingering {
  /// Connects two TCP sockets over the loopback interface, with a full window and `SO_LINGER`: closing the last
  /// copy of the first one blocks.
  ///
  /// - Returns: The first socket, and its peer, which must stay open and reads nothing.
  private static func connection(seconds: Int) throws -> (CInt, CInt) {
    let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    var small: CInt = 2048
    let sender = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    unsafe setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, 4)
    let isConnected = unsafe withUnsafeMutablePointer(to: &address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(listener, $0, size) == 0 && Glibc.listen(listener, 1) == 0
          && getsockname(listener, $0, &size) == 0 && connect(sender, $0, size) == 0
      }
    }
    let other = accept(listener, nil, nil)
    guard isConnected, other >= 0 else { throw AttackError("loopback: errno \(errno)") }
    close(listener)
    var waits = Glibc.linger(l_onoff: 1, l_linger: CInt(seconds))
    unsafe setsockopt(
      sender, SOL_SOCKET, SO_LINGER, &waits, socklen_t(MemoryLayout<Glibc.linger>.size))
    _ = fcntl(sender, F_SETFL, O_NONBLOCK)
    let bytes = [UInt8](repeating: 0, count: 65536)
    while unsafe send(sender, bytes, bytes.count, CInt(MSG_NOSIGNAL)) > 0 {}
    _ = fcntl(sender, F_SETFL, 0)
    return (sender, other)
  }

  /// Gives the daemon the last copies of such sockets.
  ///
  /// - Parameters:
  ///   - way: `mailbox`, `reply`, `namespace` and `extra` say what the daemon takes the socket for. `unread`
  ///     puts it into a message that the daemon does not read before it closes the connection; `client` does
  ///     the same in a mailbox.
  ///   - seconds: How long a close blocks.
  /// - Throws: ``AttackError`` for an unknown way, or when no daemon listens.
  static func linger(_ way: String, seconds: Int) throws {
    var (mine, others): ([CInt], [CInt]) = ([], [])
    for _ in 0..<(way == "extra" ? 12 : 1) {
      let (sender, other) = try connection(seconds: seconds)
      mine.append(sender)
      others.append(other)
    }
    let plain = try MessageSocket.pair()
    var kept: [AnyObject] = [plain.0, plain.1]
    switch way {
    case "mailbox":
      let socket = try Wire.connect()
      try Wire.send(.hello, on: socket, files: mine)
      kept.append(socket)
    case "reply":
      let client = try RawClient()
      try Wire.send(.list, on: client.mailbox, files: mine) { $0.put(UInt32(0)) }
      kept.append(client)
    case "namespace":
      let client = try RawClient()
      try Wire.send(.portInfo, on: client.mailbox, files: [plain.1.descriptor] + mine) {
        if let name = try? PortName("n{1") {
          $0.put(portInfo: RegisterRequest(name: name), memoryID: 0)
        }
      }
      kept.append(client)
    case "extra":
      let client = try RawClient()
      try Wire.send(.list, on: client.mailbox, files: [plain.1.descriptor] + mine) {
        $0.put(UInt32(0))
      }
      kept.append(client)
    case "unread":
      // The first message is invalid here, so the daemon closes the connection, if possible before it reads the
      // next message.
      for _ in 0..<1000 {
        let socket = try Wire.connect()
        kept.append(socket)
        try Wire.send(.doorbell, on: socket, files: [])
        if (try? Wire.send(.hello, on: socket, files: mine)) != nil { break }
      }
    case "client":
      for _ in 0..<1000 {
        let client = try RawClient()
        kept.append(client)
        try Wire.send(.doorbell, on: client.mailbox, files: [])
        if (try? Wire.send(.list, on: client.mailbox, files: mine)) != nil { break }
      }
    default: throw AttackError("no such way: \(way)")
    }
    for file in mine { close(file) }
    HostilePeer.say("ready")
    withExtendedLifetime(kept) { HostilePeer.waitForEnd() }
  }
}
