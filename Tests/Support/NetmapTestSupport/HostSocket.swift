internal import CLinux
internal import Glibc

/// A TCP or UDP socket of a host, over IPv4 or IPv6. Every call ends within 60 seconds.
public final class HostSocket: Sendable {
  public enum Kind: Sendable {
    case tcp, udp
  }

  private let descriptor: CInt

  private init(_ descriptor: CInt) {
    self.descriptor = descriptor
    var limit = timeval(tv_sec: 60, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      _ = unsafe setsockopt(
        descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
  }

  deinit { close(descriptor) }

  /// - Parameters:
  ///   - kind: The protocol.
  ///   - host: The host; nil for the calling thread's namespace.
  ///   - address: A numeric address of the host, to receive on.
  ///   - port: The port.
  ///   - listens: Whether a TCP socket waits for connections.
  /// - Throws: ``ProgramError`` with the call that failed.
  public convenience init(
    _ kind: Kind, on host: OtherHost?, _ address: String, port: UInt16, listens: Bool = true
  ) throws {
    let isIPv6 = address.contains(":")
    let type = kind == .tcp ? SOCK_STREAM : SOCK_DGRAM
    let family = isIPv6 ? AF_INET6 : AF_INET
    let made =
      try host?.socket(family, type)
      ?? Glibc.socket(family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    self.init(made)
    var one: CInt = 1
    _ = unsafe setsockopt(
      descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<CInt>.size))
    try check("bind") { unsafe try Self.withAddress(address, port) { unsafe bind(made, $0, $1) } }
    if kind == .tcp, listens { try check("listen") { listen(made, 8) } }
  }

  private func check(_ call: String, _ body: () throws -> CInt) throws {
    guard try body() >= 0 else { throw ProgramError(text: "\(call): errno \(errno)") }
  }

  /// Connects to a peer.
  public func connect(_ address: String, port: UInt16) throws {
    try check("connect") {
      unsafe try Self.withAddress(address, port) { unsafe Glibc.connect(descriptor, $0, $1) }
    }
  }

  /// Waits for a connection.
  public func accept() throws -> HostSocket {
    let made = Glibc.accept(descriptor, nil, nil)
    guard made >= 0 else { throw ProgramError(text: "accept: errno \(errno)") }
    return HostSocket(made)
  }

  /// Sends all bytes on a connection, or one datagram to the connected address.
  public func send(_ bytes: [UInt8]) throws {
    var sent = 0
    repeat {
      let count = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.send(
          descriptor, $0.baseAddress.map { unsafe $0 + sent }, bytes.count - sent,
          CInt(MSG_NOSIGNAL))
      }
      guard count >= 0 else { throw ProgramError(text: "send: errno \(errno), after \(sent)") }
      sent += count
    } while sent < bytes.count
  }

  /// Receives what has arrived: at most `limit` bytes of a connection, or one datagram.
  ///
  /// - Returns: Empty at the end of a connection.
  public func receive(_ limit: Int = 1 << 16) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: limit)
    let count = unsafe recv(descriptor, &bytes, limit, 0)
    guard count >= 0 else { throw ProgramError(text: "recv: errno \(errno)") }
    return Array(bytes.prefix(count))
  }

  private static func withAddress<R>(
    _ address: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> R
  ) throws -> R {
    func call<T>(_ value: T) throws -> R {
      try unsafe withUnsafePointer(to: value) { value in
        try unsafe value.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          try unsafe body($0, socklen_t(MemoryLayout<T>.size))
        }
      }
    }
    if address.contains(":") {
      var name = sockaddr_in6()
      name.sin6_family = UInt16(AF_INET6)
      name.sin6_port = port.bigEndian
      guard unsafe inet_pton(AF_INET6, address, &name.sin6_addr) == 1 else {
        throw ProgramError(text: "\(address) is no address")
      }
      return try call(name)
    }
    var name = sockaddr_in()
    name.sin_family = UInt16(AF_INET)
    name.sin_port = port.bigEndian
    guard unsafe inet_pton(AF_INET, address, &name.sin_addr) == 1 else {
      throw ProgramError(text: "\(address) is no address")
    }
    return try call(name)
  }
}
