internal import CLinux
internal import Glibc
package import NetmapCore

/// The address of a token's own end, which tells tokens from all other sockets.
///
/// A token is bound to an abstract name of its own (unix(7)) before it connects: ``prefix`` and 32 random digits. No
/// process listens at such a name, and no process can connect to it. Every process that has a copy of the token sees
/// the name with getsockname(2), and netmapd sees it with getpeername(2) when it accepts the connection.
package enum TokenName {
  /// The first byte makes the name abstract.
  static let prefix: [UInt8] = [0] + Array("netmap-token-".utf8)
  private static let digitCount = 32
  private static let alphabet = Array("0123456789abcdef".utf8)

  /// The digits of a name.
  package struct Digits: Hashable, Sendable {
    package let bytes: [UInt8]

    /// Random digits.
    package init() {
      bytes = (0..<digitCount).map { _ in alphabet[Int.random(in: 0..<16)] }
    }

    /// - Returns: Nil for anything but 32 digits.
    package init?(_ bytes: [UInt8]) {
      guard bytes.count == digitCount, bytes.allSatisfy({ alphabet.contains($0) }) else {
        return nil
      }
      self.bytes = bytes
    }
  }

  /// Binds a new socket to a name that no other socket has.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of bind(2).
  static func give(to file: CInt) throws(NetmapError) {
    while true {
      do throws(NetmapError) {
        return try give(Digits(), to: file)
      } catch {
        guard error.code.rawValue == EADDRINUSE else { throw error }
      }
    }
  }

  /// Binds a new socket to a name.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of bind(2).
  static func give(_ digits: Digits, to file: CInt) throws(NetmapError) {
    let name = prefix + digits.bytes
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
    let size =
      socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path) ?? 2) + socklen_t(name.count)
    let result = unsafe withUnsafePointer(to: address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(file, $0, size) }
    }
    guard result == 0 else { throw systemError("bind", "token") }
  }

  /// Whether a descriptor is a socket with the name of a token.
  ///
  /// Sends nothing.
  package static func isOwn(of file: CInt) -> Bool {
    unsafe digits { unsafe getsockname(file, $0, $1) } != nil
  }

  /// The name of the other end of a connection, if it is that of a token.
  package static func ofPeer(_ file: CInt) -> Digits? {
    unsafe digits { unsafe getpeername(file, $0, $1) }
  }

  private static func digits(
    _ ask: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt
  ) -> Digits? {
    var address = sockaddr_un()
    var size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe ask($0, &size) }
    }
    let start = MemoryLayout.offset(of: \sockaddr_un.sun_path) ?? 2
    guard result == 0, address.sun_family == sa_family_t(AF_UNIX),
      Int(size) == start + prefix.count + digitCount
    else { return nil }
    let name = unsafe withUnsafeBytes(of: address.sun_path) {
      unsafe Array($0.prefix(prefix.count + digitCount))
    }
    guard name.starts(with: prefix) else { return nil }
    return Digits(Array(name.dropFirst(prefix.count)))
  }
}

/// The identity of one open of a port, which all copies of its token have, in all processes.
package struct TokenIdentity: Hashable, Sendable {
  /// The kernel's number of the socket (`SO_COOKIE` of socket(7)); the kernel does not use it again.
  package let cookie: UInt64
}

extension Token {
  /// The identity of the token that a descriptor is a copy of.
  ///
  /// Looks only at what the kernel knows of the descriptor, and sends nothing on it: the descriptor may be any file of
  /// the program's.
  ///
  /// - Parameter descriptor: Any number.
  /// - Returns: Nil for a descriptor that is not a token of root's daemon or of a daemon of this user's own.
  package static func identity(of descriptor: CInt) -> TokenIdentity? {
    // Nearly all descriptors that are asked about are no tokens, and this takes one system call for them.
    guard TokenName.isOwn(of: descriptor),
      (try? DaemonAddress.daemon(ofToken: descriptor)) != nil
    else { return nil }
    return cookie(of: descriptor).map { TokenIdentity(cookie: $0) }
  }

  /// The identity of this token.
  ///
  /// - Throws: ``NetmapError`` `EBADF` when this copy is closed.
  package func identity() throws(NetmapError) -> TokenIdentity {
    let descriptor = try open().descriptor
    guard let cookie = Self.cookie(of: descriptor) else {
      throw systemError("getsockopt(SO_COOKIE)", "token")
    }
    return TokenIdentity(cookie: cookie)
  }

  /// The kernel's number of a socket.
  static func cookie(of descriptor: CInt) -> UInt64? {
    var cookie: UInt64 = 0
    var size = socklen_t(MemoryLayout<UInt64>.size)
    // 57 is SO_COOKIE.
    guard unsafe getsockopt(descriptor, SOL_SOCKET, 57, &cookie, &size) == 0 else { return nil }
    return cookie
  }

  /// Opens a token that is not bound to a port.
  ///
  /// Any process that has a copy can bind it later (``DaemonConnection/register(_:on:)``). The daemon does not exit for
  /// idleness while a token exists.
  ///
  /// - Parameters:
  ///   - address: The daemon's address; nil for the first of ``DaemonAddress/candidates()`` at which a daemon listens.
  ///   - starts: Whether to start a daemon if none runs. Has no effect with an `address`.
  /// - Returns: The token.
  /// - Throws: ``NetmapError`` when this user may not use the daemon, or when no daemon can be started.
  package static func unbound(
    at address: DaemonAddress? = nil, starts: Bool = true
  ) throws(NetmapError) -> Token {
    guard let address else {
      return Token(try DaemonAddress.reach(for: .token, starts: starts).connection)
    }
    guard let connection = try address.connect(for: .token) else {
      throw DaemonAddress.nobodyListens(at: address)
    }
    return Token(connection)
  }
}
