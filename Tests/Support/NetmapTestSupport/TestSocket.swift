internal import CLinux
internal import Glibc

/// An IPv4 UDP socket of the host, in the namespace of the thread that creates it.
public struct UDPSocket: ~Copyable {
  private let descriptor: CInt

  /// - Parameter port: The port to receive on.
  /// - Throws: ``ProgramError`` when the port is taken.
  public init(port: UInt16) throws {
    descriptor = socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    let result = unsafe Self.withAddress((0, 0, 0, 0), port) { unsafe bind(descriptor, $0, $1) }
    guard result == 0 else {
      close(descriptor)
      throw ProgramError(text: "bind: errno \(errno)")
    }
  }

  deinit { close(descriptor) }

  /// Takes the packets that have arrived, without waiting.
  ///
  /// - Returns: The number of packets.
  public func drain() -> Int {
    var bytes = [UInt8](repeating: 0, count: 2048)
    var count = 0
    while unsafe recv(descriptor, &bytes, bytes.count, CInt(MSG_DONTWAIT)) >= 0 { count += 1 }
    return count
  }

  /// Waits for a packet, and leaves it in the socket.
  ///
  /// - Returns: False when no packet came in time.
  public func waits(milliseconds: CInt) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&entry, 1, milliseconds) == 1
  }

  /// Sends one packet; with a segment size, a large packet that the interface segments
  /// (`UDP_SEGMENT`, udp(7)).
  public func send(
    _ bytes: [UInt8], to address: (UInt8, UInt8, UInt8, UInt8), port: UInt16, segments: CInt? = nil
  ) throws {
    if var segments {
      _ = unsafe setsockopt(descriptor, 17, 103, &segments, socklen_t(MemoryLayout<CInt>.size))
    }
    let result = unsafe Self.withAddress(address, port) {
      unsafe sendto(descriptor, bytes, bytes.count, 0, $0, $1)
    }
    guard result == bytes.count else { throw ProgramError(text: "sendto: errno \(errno)") }
  }

  private static func withAddress<R>(
    _ address: (UInt8, UInt8, UInt8, UInt8), _ port: UInt16,
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
  ) -> R {
    var name = sockaddr_in()
    name.sin_family = UInt16(AF_INET)
    name.sin_port = port.bigEndian
    unsafe withUnsafeMutableBytes(of: &name.sin_addr) {
      unsafe $0.copyBytes(from: [address.0, address.1, address.2, address.3])
    }
    return unsafe withUnsafePointer(to: name) { name in
      unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}

/// Removes every capability except `CAP_NET_RAW` from the calling thread; see capabilities(7).
public func keepOnlyNetRawCapability() throws {
  try setCapabilities(1 << 13)
}

/// Removes every capability except `CAP_NET_ADMIN` from the calling thread.
public func keepOnlyNetAdminCapability() throws {
  try setCapabilities(1 << 12)
}

/// Removes every capability from the calling thread.
public func dropAllCapabilities() throws {
  try setCapabilities(0)
}

private func setCapabilities(_ set: UInt32) throws {
  // struct __user_cap_header_struct, version 3; struct __user_cap_data_struct, twice.
  var header: [UInt32] = [0x2008_0522, 0]
  let data: [UInt32] = [set, set, 0, 0, 0, 0]
  guard unsafe capset(&header, data) == 0 else {
    throw ProgramError(text: "capset: errno \(errno)")
  }
}
