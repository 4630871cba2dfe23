import CLinux
import Glibc

/// Unix sockets of an attacker.
enum StormSocket {
  static func make() -> CInt {
    let kind =
      CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    return Glibc.socket(AF_UNIX, kind, 0)
  }

  /// Connects; waits a moment while the daemon has not accepted earlier connections.
  static func connect(_ file: CInt, _ path: String) -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
    for _ in 0..<200 {
      let result = withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          Glibc.connect(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      if result == 0 { return 0 }
      guard errno == EAGAIN || errno == EINTR else { return errno }
      usleep(1000)
    }
    return ETIMEDOUT
  }

  /// Gives a socket the name of a token, or nearly such a name.
  static func name(_ file: CInt, _ random: inout StormRandom) {
    let digits = (0..<32).map { _ in Array("0123456789abcdef".utf8)[random.below(16)] }
    var name = [0] + Array("netmap-token-".utf8) + digits
    if random.chance(80) { name.removeLast(1 + random.below(20)) }
    if random.chance(80) { name[random.below(name.count)] ^= 0x20 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let size = socklen_t(2 + name.count)
    _ = withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(file, $0, size) }
    }
  }

  static func pair() -> (CInt, CInt) {
    var files: [CInt] = [-1, -1]
    let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    socketpair(AF_UNIX, kind, 0, &files)
    return (files[0], files[1])
  }
}
