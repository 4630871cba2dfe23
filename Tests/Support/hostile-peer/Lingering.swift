import CLinux
import Glibc
import NetmapClient
import NetmapCore
import StormAttack

/// Descriptors whose close(2) blocks.
enum Lingering {
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
      let (sender, other) = try LingeringSocket.pair(seconds: seconds)
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
